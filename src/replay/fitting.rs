//! Replaying what fits: on the way back, a row that the old structure cannot hold does not end the guard. It is
//! noted, the row in the old table stays as it last fitted, and all others are replayed.

use std::time::Duration;

use mysql_async::prelude::Queryable;

use super::{Transaction, replay};
use crate::key::Key;
use crate::server::{Fault, Session};
use crate::state::Misfit;
use crate::work::{Context, Failure, Work, rollback};

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
/// again. A note is written before the batch is reported as done, so a crash cannot lose it.
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
                session.query_drop(context.state.fits_sql(keys)).await?;
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
            let row = context.plan.key.source.describe(key);
            let why = failure.into_error("it does not fit the old structure").to_string();
            let misfit = Misfit::new(key, row, why);
            session.query_drop(context.state.misfit_sql(&misfit)?).await?;
            fitted.misfits.push(misfit);
        } else {
            let (low, high) = keys.split_at(keys.len() / 2);
            pending.extend([high, low]);
        }
    }
    Ok(fitted)
}
