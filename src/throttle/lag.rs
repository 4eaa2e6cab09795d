//! How far replicas are behind, by replank's own heartbeats: the row of the state table as the replica has it.
//!
//! A heartbeat is a number, and this process knows when it sent each one. A replica that shows heartbeat 17 lacks 18: it
//! is behind by the age of that one. So the clocks of the machines do not matter, and neither does what the
//! replica says about itself, which is NULL or 0 in just the moments that matter.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::server::{Server, Session, SessionSettings, replicas};
use crate::state::StateTable;

/// How long a replica may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// So many heartbeats are remembered: minutes of them at the cut-over, half an hour in the copy.
const REMEMBERED: usize = 20_000;

/// When heartbeats were sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beats(Arc<Mutex<VecDeque<(u64, Instant)>>>);

impl Beats {
    /// Heartbeat `id` is sent now.
    pub(crate) fn sent(&self, id: u64, at: Instant) {
        let mut beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if beats.len() == REMEMBERED {
            beats.pop_front();
        }
        beats.push_back((id, at));
    }

    /// How far a replica is behind that shows heartbeat `id`. None if the one that it lacks is not remembered.
    fn lag(&self, id: u64) -> Option<Duration> {
        let beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if beats.front().is_some_and(|(first, _)| *first > id + 1) {
            return None;
        }
        let first_missing = beats.partition_point(|(sent, _)| *sent <= id);
        Some(beats.get(first_missing).map_or(Duration::ZERO, |(_, at)| at.elapsed()))
    }
}

/// A replica whose lag is watched.
#[derive(Debug, Clone)]
pub struct Replica {
    /// Its host and port, for messages.
    pub name: String,
    /// How it is reached.
    pub server: Server,
}

/// A replica with the connection to it.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) replica: Replica,
    session: Option<Session>,
}

impl Watched {
    pub(super) fn new(replica: Replica) -> Self {
        Watched { replica, session: None }
    }

    /// How far it is behind.
    ///
    /// # Errors
    /// When it does not answer in time, or does not have the state table (yet).
    pub(super) async fn lag(&mut self, state: &StateTable, beats: &Beats) -> Result<Duration> {
        let read = async {
            let mut session = match self.session.take() {
                Some(session) => session,
                None => self.replica.server.session(&SessionSettings::default()).await?,
            };
            let beat = state.last_heartbeat(&mut session).await?;
            self.session = Some(session);
            let beat = beat.ok_or_else(|| Error::transient("there is no heartbeat yet"))?;
            beats
                .lag(beat)
                .ok_or_else(|| Error::transient("it is behind by more than is remembered"))
        };
        match tokio::time::timeout(PATIENCE, read).await {
            Ok(lag) => lag,
            Err(_) => Err(Error::transient(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }
}

/// The replicas that are connected to a server.
///
/// # Errors
/// Refused when one of them does not say where it is.
pub(super) async fn discover(
    server: &Server,
    session: &mut Session,
    version: u32,
) -> Result<Vec<Replica>> {
    let doing = "looking for replicas (--discover-replicas)";
    let rows = replicas(session, version, doing).await.map_err(|error| {
        error.remedy("GRANT REPLICATION SLAVE ON *.* to the account of replank.")
    })?;
    let mut found = Vec::new();
    for row in rows {
        let text = |name: &str| row.get_opt::<String, _>(name).and_then(|value| value.ok());
        let port: Option<u16> = row.get_opt("Port").and_then(|value| value.ok());
        let host = text("Host").filter(|host| !host.is_empty());
        let uuid = text("Replica_UUID").or_else(|| text("Slave_UUID")).unwrap_or_default();
        if host.is_none() && uuid.is_empty() {
            // Whoever else reads the binlog, as replank itself does.
            continue;
        }
        let (Some(host), Some(port)) = (host, port) else {
            return Err(Error::refused(format!(
                "replica {} does not report where it is (--discover-replicas)",
                text("Server_Id").or_else(|| text("Server_id")).unwrap_or_default()
            ))
            .remedy("Set report_host on the replica, or name it with --replica."));
        };
        found.push(Replica { name: format!("{host}:{port}"), server: server.at(&host, port) });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_behind_by_the_age_of_the_first_heartbeat_that_it_lacks() {
        let beats = Beats::default();
        let now = Instant::now();
        for (id, age) in [(4, 30), (5, 20), (6, 10)] {
            beats.sent(id, now - Duration::from_secs(age));
        }
        let seconds = |id| beats.lag(id).map(|lag| lag.as_secs());
        assert_eq!(seconds(6), Some(0), "it has them all");
        assert_eq!(seconds(5), Some(10));
        assert_eq!(seconds(4), Some(20));
        assert_eq!(seconds(3), Some(30), "it lacks the first one");
        assert_eq!(seconds(2), None, "nobody knows when the third was sent");
    }
}
