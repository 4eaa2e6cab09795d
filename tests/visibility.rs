//! The visibility gap, made wide.
//!
//! A source with semi-synchronous replication sends a transaction to every reader of its binlog, then
//! waits for a replica's acknowledgement, and only then commits in InnoDB. Here that takes 200 ms: so long
//! does a row event lie before its reader while the row is still the old one.

mod common;

use std::time::Duration;

use common::proxy::Proxy;
use common::scenario::{Scenario, Writers};
use common::{Database, Lookout};
use futures_util::StreamExt;
use mysql_async::binlog::EventType;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStreamRequest, Conn};
use replank::run::Request;
use replank::throwaway::ThrowawayServer;

const DELAY: Duration = Duration::from_millis(200);

/// The delay of the one write whose event and row are looked at: no thread of the test is held up for so long.
const LONG_DELAY: Duration = Duration::from_secs(3);

/// Writers enough that some of them always wait for the replica.
const WRITERS: usize = 12;

struct Pair {
    source: ThrowawayServer,
    /// Acknowledges what the source sends, through the proxy.
    _replica: ThrowawayServer,
    proxy: Proxy,
}

async fn position(conn: &mut Conn) -> (String, u64) {
    let status: mysql_async::Row =
        conn.query_first("SHOW BINARY LOG STATUS").await.expect("status").expect("a row");
    (status.get(0).expect("a file"), status.get(1).expect("an offset"))
}

impl Pair {
    async fn start() -> Pair {
        let source = ThrowawayServer::builder()
            .option("--plugin-load-add=semisync_source.so")
            .option("--rpl-semi-sync-source-enabled=ON")
            .option("--rpl-semi-sync-source-timeout=60000")
            .option("--innodb-buffer-pool-size=128M")
            .start()
            .await
            .expect("the source");
        let replica = ThrowawayServer::builder()
            .option("--plugin-load-add=semisync_replica.so")
            .option("--rpl-semi-sync-replica-enabled=ON")
            .option("--server-id=2")
            .option("--innodb-buffer-pool-size=64M")
            .start()
            .await
            .expect("the replica");
        let proxy = Proxy::to(source.port()).await;
        let (file, offset) = position(&mut source.connect().await.expect("connect")).await;
        let mut conn = replica.connect().await.expect("connect");
        conn.query_drop(format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, SOURCE_USER = 'root', \
             GET_SOURCE_PUBLIC_KEY = 1, SOURCE_LOG_FILE = '{file}', SOURCE_LOG_POS = {offset}",
            proxy.port()
        ))
        .await
        .expect("configured");
        conn.query_drop("START REPLICA").await.expect("started");
        let pair = Pair { source, _replica: replica, proxy };
        pair.wait_for_the_replica().await;
        pair
    }

    async fn wait_for_the_replica(&self) {
        let mut conn = self.source.connect().await.expect("connect");
        let mut ticker = tokio::time::interval(Duration::from_millis(20));
        let connected = async {
            loop {
                ticker.tick().await;
                let clients: Option<(String, u32)> = conn
                    .query_first("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_source_clients'")
                    .await
                    .expect("status");
                if clients.is_some_and(|(_, count)| count == 1) {
                    break;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), connected).await.expect("a replica");
    }
}

/// What a reader sees that takes a row event for a sign that the row has changed.
async fn a_on_arrival(pair: &Pair, database: &str, writer: &mut Conn) -> i64 {
    let mut reader = pair.source.connect().await.expect("connect");
    let mut follower = pair.source.connect().await.expect("connect");
    let (file, offset) = position(&mut follower).await;
    let request = BinlogStreamRequest::new(4711).with_filename(file.as_bytes()).with_pos(offset);
    let mut stream = follower.get_binlog_stream(request).await.expect("a stream");
    let arrival = async {
        while let Some(event) = stream.next().await {
            if event.expect("an event").header().event_type() == Ok(EventType::UPDATE_ROWS_EVENT) {
                let seen: Option<i64> = reader
                    .query_first(format!("SELECT a FROM {database}.t WHERE id = 1"))
                    .await
                    .expect("a row");
                return seen.expect("a row");
            }
        }
        panic!("the stream ended");
    };
    let write = writer.query_drop("UPDATE t SET a = -5 WHERE id = 1");
    let (seen, written) = tokio::join!(arrival, write);
    written.expect("the write");
    seen
}

#[tokio::test]
async fn events_that_arrive_before_their_rows_are_visible_lose_nothing() {
    let pair = Pair::start().await;
    let db = Database::on(pair.source.root_opts(), "gap").await;
    let mut scenario = Scenario::plain("gap").rows(4_000);
    scenario.writers = WRITERS;
    scenario.prepare(&db).await;

    // The gap is real: the row is still the old one when its event has come.
    pair.proxy.delay(LONG_DELAY);
    let mut writer = db.conn().await;
    assert_eq!(a_on_arrival(&pair, "gap", &mut writer).await, 1);
    let now: Option<i64> = writer.query_first("SELECT a FROM t WHERE id = 1").await.expect("a row");
    assert_eq!(now, Some(-5));
    pair.proxy.delay(DELAY);
    writer.query_drop("UPDATE t SET a = 1 WHERE id = 1").await.expect("back");

    let writers = Writers::start(&scenario, &db).await;
    // A commit takes as long as the replica is away: under the lock there is one after the other.
    let request = Request { lock_wait: 10, ..db.request("t", &scenario.alter) };
    let (outcome, ()) = db.alter_beside(&request, &common::options(), async |_: &Lookout| {}).await;
    let outcome = outcome.expect("done");
    let written = writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
    assert!(written > 20 && outcome.tally.keys_replayed > 20, "{written} {:?}", outcome.tally);
    assert_eq!(outcome.tally.rows_repaired, 0, "verification had to mend what replay had missed");
}
