//! Which row does not fit the new structure: the server's message names the column, often not the row.

use mysql_async::prelude::Queryable;

use crate::error::Error;
use crate::key::Key;
use crate::server::{Fault, Session, fault_of, to_error};
use crate::work::{Context, Work, fetch_keys, rollback};

/// Finds the first row among those of `predicate` that the shadow table does not take, by halving,
/// and returns the error to stop with (I7). Nothing is left in the shadow table.
///
/// `cause` is the error that the whole set met; it is reported alone when every row fits by now.
pub async fn explain(
    session: &mut Session,
    context: &Context,
    predicate: &str,
    cause: mysql_async::Error,
) -> Work<Error> {
    let plan = &context.plan;
    let key = &plan.key.source;
    let query = format!(
        "SELECT {} FROM {} FORCE INDEX ({}) WHERE {predicate} ORDER BY {}",
        key.export_list(),
        plan.names.source,
        plan.key.source_index,
        key.order_by()
    );
    let mut suspects: &[Key] = &fetch_keys(session, key, &query).await?;
    let mut cause = cause;
    while suspects.len() > 1 {
        let (low, high) = suspects.split_at(suspects.len() / 2);
        suspects = match try_rows(session, context, low).await? {
            Some(error) => {
                cause = error;
                low
            }
            None => high,
        };
    }
    let row = match suspects {
        [row] => match try_rows(session, context, std::slice::from_ref(row)).await? {
            Some(error) => {
                cause = error;
                format!(", row {}", key.describe(row))
            }
            None => String::new(),
        },
        _ => String::new(),
    };
    let error =
        to_error(cause, &format!("{}{row} does not fit the new structure", plan.names.source));
    Ok(error.remedy("Mend the row, or change the ALTER so that the row fits, and start again."))
}

/// Whether the rows of these keys are refused; undone in any case.
async fn try_rows(
    session: &mut Session,
    context: &Context,
    keys: &[Key],
) -> Work<Option<mysql_async::Error>> {
    let plan = &context.plan;
    session.query_drop("START TRANSACTION").await?;
    // A row that is in the shadow table already, from the copy or a replay, would only be a duplicate.
    session
        .query_drop(format!(
            "DELETE FROM {} WHERE {}",
            plan.names.shadow,
            plan.key.shadow.in_list(keys)?
        ))
        .await?;
    let insert = plan.insert_select("INSERT", &plan.names.shadow.to_string())
        + &plan.key.source.in_list(keys)?;
    let outcome = session.query_drop(insert).await;
    rollback(session).await;
    match outcome {
        Err(error) if fault_of(&error) == Fault::Data => Ok(Some(error)),
        Err(error) if fault_of(&error) == Fault::Duplicate => Ok(None),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(None),
    }
}
