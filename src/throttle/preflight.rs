//! Before a run: that each probe works, so that a slip of the pen does not hold the copy for ever.

use std::path::PathBuf;

use mysql_async::prelude::Queryable;

use super::lag::discover;
use super::{Replica, Throttle, load, outside};
use crate::error::{Error, Kind, Result};
use crate::server::{Server, ServerFacts, Session, SessionSettings, to_error};

/// Tries every probe once, and finds the replicas that are to be watched.
///
/// # Errors
/// Refused with the option that cannot work.
pub async fn prepare(
    server: &Server,
    session: &mut Session,
    facts: &ServerFacts,
    throttle: &mut Throttle,
) -> Result<()> {
    let refused = |error: Error| error.into_kind(Kind::Refused);
    if std::mem::take(&mut throttle.discover_replicas) {
        let found = discover(server, session, facts.version_number).await.map_err(refused)?;
        let names: Vec<&str> = found.iter().map(|replica| &*replica.name).collect();
        tracing::info!(replicas = names.join(", "), "found");
        let known: Vec<String> = throttle.replicas.iter().map(|r| r.name.clone()).collect();
        throttle.replicas.extend(found.into_iter().filter(|r| !known.contains(&r.name)));
    }
    for Replica { name, server } in &throttle.replicas {
        let opened = server.session(&SessionSettings::default()).await;
        let opened = opened.map_err(|error| refused(error.during(format!("replica {name}"))))?;
        opened.close().await;
    }
    let thresholds: Vec<_> = throttle.max_load.iter().chain(&throttle.critical_load).collect();
    load::status(session, &thresholds).await.map_err(refused)?;
    if throttle.max_history_list.is_some() {
        load::history_list(session).await.map_err(refused)?;
    }
    if let Some(statement) = &throttle.query {
        load::ask(session, statement).await.map_err(refused)?;
    }
    if throttle.min_free_disk.is_some() && disk_is_here(session).await?.is_none() {
        return Err(Error::refused(
            "--min-free-disk needs replank to run on the server's machine, and this is another one",
        )
        .remedy("Watch the disk by --throttle-http or --throttle-query instead."));
    }
    if let Some(address) = &throttle.http
        && let Some(why) = outside::Http::new().ask(address).await
    {
        // It may say no today; but it has to say something.
        tracing::warn!("--throttle-http: {why}");
    }
    Ok(())
}

/// The server's data directory, if it is on this machine.
///
/// # Errors
/// As the server's.
pub async fn disk_is_here(session: &mut Session) -> Result<Option<PathBuf>> {
    let answer: Option<(String, String)> = session
        .query_first("SELECT @@GLOBAL.datadir, @@GLOBAL.hostname")
        .await
        .map_err(|e| to_error(e, "reading where the data directory is"))?;
    let Some((datadir, hostname)) = answer else { return Ok(None) };
    let here = rustix::system::uname().nodename().to_string_lossy() == *hostname;
    let path = PathBuf::from(datadir);
    Ok((here && path.is_dir()).then_some(path))
}
