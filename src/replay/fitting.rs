//! Replaying what fits: on the way back, a row that the old structure cannot hold does not end the guard. It is
//! noted, the row in the old table stays as it last fitted, and all others are replayed.

use std::time::Duration;

use mysql_async::prelude::Queryable;

use super::{Transaction, replay};
use crate::key::Key;
use crate::server::{Fault, Session};
use crate::state::Misfit;
use crate::work::{Context, Failure, KEPT, Work, commit, fetch_keys, rollback};

/// What became of a batch.
#[derive(Debug)]
pub struct Fitted {
    /// How long the work took, without its COMMITs.
    pub took: Duration,
    /// The rows that do not fit; all others are replayed.
    pub misfits: Vec<Misfit>,
}

impl From<Duration> for Fitted {
    /// Everything fitted.
    fn from(took: Duration) -> Self {
        Fitted { took, misfits: Vec::new() }
    }
}

/// Replays the keys whose rows fit, by halving, and notes in the state table which do not and which do
/// again; a number or a time that is rounded without a word of the server's does not fit either. A note is written before the batch is reported as done, so a crash cannot lose it.
///
/// # Errors
/// Those that say nothing about a row: of the connection, of locks, of ownership.
pub async fn replay_fitting(
    session: &mut Session,
    context: &Context,
    keys: &[Key],
) -> Work<Fitted> {
    let mut fitted = Fitted::from(Duration::ZERO);
    let mut pending = vec![keys];
    while let Some(keys) = pending.pop() {
        let failure = match replay(session, context, keys, Transaction::Own).await {
            Ok(took) => {
                fitted.took += took;
                let rounded = rounded(session, context, keys).await?;
                let exact: Vec<Key> =
                    keys.iter().filter(|key| !rounded.contains(key)).cloned().collect();
                if !exact.is_empty() {
                    note(session, context, &context.state.fits_sql(&exact)).await?;
                }
                for key in rounded {
                    let why = "the old structure holds it rounded".to_owned();
                    fitted.misfits.push(misfit(session, context, &key, why).await?);
                }
                continue;
            }
            Err(failure) => failure,
        };
        let by_data = matches!(failure, Failure::Stop(_)) || failure.fault() == Fault::Data;
        if !by_data {
            return Err(failure);
        }
        rollback(session).await;
        if let [key] = keys {
            let why = failure.into_error("it does not fit the old structure").to_string();
            fitted.misfits.push(misfit(session, context, key, why).await?);
        } else {
            let (low, high) = keys.split_at(keys.len() / 2);
            pending.extend([high, low]);
        }
    }
    Ok(fitted)
}

/// Notes a row that does not fit.
async fn misfit(session: &mut Session, context: &Context, key: &Key, why: String) -> Work<Misfit> {
    let misfit = Misfit::new(key, context.plan.key.source.describe(key), why);
    note(session, context, &context.state.misfit_sql(&misfit)?).await?;
    Ok(misfit)
}

/// Writes to the state table, as everything is written: only if this process still holds the run lock.
async fn note(session: &mut Session, context: &Context, sql: &str) -> Work<()> {
    session.query_drop("START TRANSACTION").await?;
    session.query_drop(sql).await?;
    commit(session, context).await
}

/// Those of the keys whose rows the old table holds with other numbers or times than the new one. A row that
/// changes meanwhile may be among them without need; its key is due again.
async fn rounded(session: &mut Session, context: &Context, keys: &[Key]) -> Work<Vec<Key>> {
    let plan = &context.plan;
    let differ: Vec<String> = plan
        .rounded()
        .map(|column| format!("NOT (new.{} <=> {KEPT}.{})", column.source.name, column.target.name))
        .collect();
    if differ.is_empty() {
        return Ok(Vec::new());
    }
    let pairs = plan.key.source.parts.iter().zip(&plan.key.shadow.parts);
    let same: Vec<String> =
        pairs.map(|(new, old)| format!("new.{} = {KEPT}.{}", new.name, old.name)).collect();
    let query = format!(
        "SELECT {} FROM {} {KEPT} WHERE {} AND EXISTS (SELECT 1 FROM {} new WHERE {} AND ({}))",
        plan.key.shadow.export_list(),
        plan.names.shadow,
        plan.key.shadow.in_list(keys)?,
        plan.names.source,
        same.join(" AND "),
        differ.join(" OR ")
    );
    fetch_keys(session, &plan.key.shadow, &query).await
}
