//! One migration through a proxy, on a server of its own.

use std::time::Duration;

use replank::error::Error;
use replank::run::Outcome;
use replank::throwaway::ThrowawayServer;

use super::proxy::Proxy;
use super::scenario::{Scenario, Writers};
use super::{Database, Lookout, options};

/// One run that goes through a proxy.
pub(crate) struct Voyage {
    pub(crate) server: ThrowawayServer,
    pub(crate) db: Database,
    pub(crate) scenario: Scenario,
    pub(crate) proxy: Proxy,
}

impl Voyage {
    pub(crate) async fn new(name: &'static str) -> Voyage {
        let scenario = Scenario::plain(name);
        let server = ThrowawayServer::builder()
            .option("--innodb-buffer-pool-size=128M")
            .start()
            .await
            .expect("a server");
        let db = Database::on(server.root_opts(), scenario.name).await;
        scenario.prepare(&db).await;
        let proxy = Proxy::to(server.port()).await;
        Voyage { server, db, scenario, proxy }
    }

    /// Runs replank through the proxy under writers; `beside` happens beside it.
    pub(crate) async fn sail(&self, beside: impl AsyncFnOnce(&Lookout)) -> Result<Outcome, Error> {
        let through = Database {
            name: self.db.name.clone(),
            opts: self.proxy.through(self.server.root_opts()),
        };
        let writers = Writers::start(&self.scenario, &self.db).await;
        let mut options = options();
        // A chunk's transaction has to pass the stream between two breaks of the connection.
        options.chunk_time = Duration::from_millis(4);
        let request = through.request("t", &self.scenario.alter);
        let (outcome, ()) = through.alter_beside(&request, &options, beside).await;
        writers.stop(&self.scenario).await;
        outcome
    }

    /// Nothing happens beside the run, which has to come to a good end.
    pub(crate) async fn arrives(&self) -> Outcome {
        let outcome = self.sail(async |_: &Lookout| {}).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{}: {error}", self.scenario.name));
        self.scenario.assert_equal(&self.db).await;
        outcome
    }
}
