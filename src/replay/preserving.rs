//! Replaying into a table with columns that the source does not have, without losing what they hold.
//!
//! On the way back these are the columns that the ALTER had dropped. A row that the old table holds keeps
//! its values in them; a row that it does not hold gets their defaults, as the server itself gives them.
//! The rows are put together in the scratch table first, since they have to be deleted from the old table
//! before they are inserted into it: another unique index may hold one of their values.
//!
//! The two statements that fill the scratch table have read views of their own. A row that comes or goes
//! between them has changed at a position above `V`, so that its key stays due. The shadow table's rows are
//! locked before.

use mysql_async::prelude::Queryable;

use crate::key::Key;
use crate::scratch;
use crate::server::Session;
use crate::sql::list;
use crate::work::{Context, KEPT, Work};

/// Puts the rows together that the shadow table is to hold for these keys, for which `wanted` holds in the
/// source. Returns the statement that brings them there when it has made room.
pub(super) async fn assemble(
    session: &mut Session,
    context: &Context,
    keys: &[Key],
    wanted: &str,
) -> Work<String> {
    let plan = &context.plan;
    let written: Vec<String> =
        plan.columns.written().map(|(target, _)| target.to_string()).collect();
    let all =
        list(written.iter().cloned().chain(plan.preserved.iter().map(|c| c.name.to_string())));
    hold(session, context, keys).await?;
    fill(session, context, wanted, &written, &all).await?;
    let (shadow, scratch) = (&plan.names.shadow, scratch::name(context));
    Ok(format!("INSERT INTO {shadow} ({all}) SELECT {all} FROM {scratch}"))
}

/// Locks the rows of the shadow table. If an earlier attempt has lost its connection while it was
/// committing, this waits for it: both statements that put the rows together have to see what it has done.
async fn hold(session: &mut Session, context: &Context, keys: &[Key]) -> Work<()> {
    let plan = &context.plan;
    let list = plan.key.shadow.in_list(keys)?;
    let _: Vec<u64> = session
        .query(format!("SELECT COUNT(*) FROM {} WHERE {list} FOR UPDATE", plan.names.shadow))
        .await?;
    Ok(())
}

/// Fills the scratch table with the source's rows for which `wanted` holds, as the shadow table is to hold
/// them.
async fn fill(
    session: &mut Session,
    context: &Context,
    wanted: &str,
    written: &[String],
    all: &str,
) -> Work<()> {
    let plan = &context.plan;
    let scratch = scratch::name(context);
    let key = &plan.key.shadow.parts;
    let same: Vec<String> =
        key.iter().map(|part| format!("{KEPT}.{0} = fresh.{0}", part.name)).collect();
    let same = same.join(" AND ");
    let fresh = || list(written.iter().map(|name| format!("fresh.{name}")));
    let kept = list(plan.preserved.iter().map(|column| format!("{KEPT}.{}", column.name)));
    let rows = format!("({}{wanted}) fresh", plan.select());
    scratch::create(session, context).await?;
    session
        .query_drop(format!(
            "INSERT INTO {scratch} ({all}) SELECT {}, {kept} FROM {rows} JOIN {} {KEPT} ON {same}",
            fresh(),
            plan.names.shadow
        ))
        .await?;
    session
        .query_drop(format!(
            "INSERT INTO {scratch} ({}) SELECT {} FROM {rows} \
             WHERE NOT EXISTS (SELECT 1 FROM {} {KEPT} WHERE {same})",
            list(written),
            fresh(),
            plan.names.shadow,
        ))
        .await?;
    Ok(())
}
