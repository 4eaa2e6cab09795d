//! Commands through the database, for an operator who cannot reach the socket: from another machine, for instance.
//!
//! Whoever may write to the state table may steer the run; that is, whoever could drop the table anyway.

use std::time::{Duration, Instant};

use super::socket::{Answer, respond};
use super::{Command, Control};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::server::Session;
use crate::state::StateTable;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks for it.
const EVERY: Duration = Duration::from_millis(20);

/// Asks something of the process that works on a run, and waits for its answer.
///
/// # Errors
/// As the server's; refused when no answer comes.
pub async fn send(
    session: &mut Session,
    state: &StateTable,
    command: &Command,
    by: &str,
) -> Result<Answer> {
    let text = serde_json::to_string(command)
        .map_err(|e| Error::refused("writing the command").caused_by(e))?;
    let id = state.ask(session, by, &text).await?;
    let began = Instant::now();
    let mut ticker = tokio::time::interval(EVERY);
    let answer = loop {
        ticker.tick().await;
        if let Some(answer) = state.answer(session, id).await? {
            break Some(answer);
        }
        if began.elapsed() > PATIENCE {
            break None;
        }
    };
    // A run that was told to abort removes the table itself.
    if let Err(error) = state.forget(session, id).await {
        tracing::debug!(%error, "removing the request");
    }
    let answer = answer.ok_or_else(|| {
        Error::refused("the run has not answered within 10 s; what was asked is taken back").remedy(
            "Look at `replank status`: the process may have ended, or its connection is lost.",
        )
    })?;
    serde_json::from_str(&answer)
        .map_err(|e| Error::refused("the run's answer cannot be read").caused_by(e))
}

/// Carries out what others ask for.
///
/// # Errors
/// As the server's.
pub(crate) async fn answer(
    session: &mut Session,
    state: &StateTable,
    progress: &Progress,
    control: &Control,
) -> Result<()> {
    for (id, by, text) in state.requests(session).await? {
        let answer = respond(&text, &by, progress, control);
        let answer = serde_json::to_string(&answer)
            .map_err(|e| Error::failed("writing an answer").caused_by(e))?;
        state.reply(session, id, &answer).await?;
    }
    Ok(())
}
