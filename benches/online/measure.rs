//! One run of one tool on a fresh table, and what it cost whom.

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use replank::demo::latency::Latencies;
use replank::demo::workload::{Workload, WorkloadConfig};
use replank::server::Server;
use replank::sql::TableName;
use replank::throwaway::ThrowawayServer;

use crate::Load;
use crate::plot::Bar;
use crate::shapes::Shape;
use crate::tools::{Tool, replank};

/// How long the application is watched before the tool begins.
const BASELINE: Duration = Duration::from_secs(15);

/// The phases of a run, as its result names them.
const PHASES: [&str; 4] = ["copy", "index", "verify", "cut-over"];

pub(crate) struct Bench<'a> {
    server: &'a ThrowawayServer,
    pub(crate) shape: Shape,
    rows: u64,
    /// Whether only one run is measured: then it may have the table itself in the place of a copy.
    once: bool,
}

/// What one run cost.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) seconds: f64,
    /// Whether it came to its end in time.
    finished: bool,
    /// The application's transactions per second meanwhile, as a share of those before; and its latency.
    kept: f64,
    p50: f64,
    p99: f64,
    p99_before: f64,
    worst: f64,
    /// The worst transaction that was under way at the swap, and how long the lock was held.
    stall: f64,
    lock: f64,
    /// Processor seconds and peak resident memory of the tool itself.
    processor: f64,
    memory: f64,
    binlog: f64,
    /// What `replank plan` had estimated, in seconds.
    planned: f64,
    /// How long each phase took, in seconds.
    phases: [(&'static str, f64); 4],
}

impl<'a> Bench<'a> {
    /// Fills the table that all runs begin with.
    pub(crate) async fn new(
        server: &'a ThrowawayServer,
        shape: Shape,
        rows: u64,
        once: bool,
    ) -> Bench<'a> {
        let mut conn = server.connect().await.expect("connect");
        for statement in [
            "CREATE DATABASE bench".to_owned(),
            "USE bench".to_owned(),
            format!("CREATE TABLE base {}", shape.definition),
            "SET SESSION cte_max_recursion_depth = 100000000, sql_log_bin = 0".to_owned(),
            "CREATE TABLE numbers (n INT PRIMARY KEY) AS WITH RECURSIVE s (n) AS \
             (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000) SELECT n FROM s"
                .to_owned(),
        ] {
            conn.query_drop(&statement).await.unwrap_or_else(|e| panic!("{e}: {statement}"));
        }
        // The even key numbers, as the workload expects them.
        for thousand in 0..rows.div_ceil(100_000) {
            let (from, to) = (thousand * 100_000, rows.min((thousand + 1) * 100_000));
            let fill = format!(
                "INSERT INTO base SELECT {} FROM (SELECT 2 * ({from} + (a.n - 1) * 1000 + b.n) AS n \
                 FROM numbers a JOIN numbers b WHERE a.n <= 100) x WHERE n <= {}",
                shape.values(),
                2 * to
            );
            conn.query_drop(&fill).await.unwrap_or_else(|e| panic!("{e}: {fill}"));
        }
        conn.disconnect().await.expect("disconnect");
        Bench { server, shape, rows, once }
    }

    async fn conn(&self) -> Conn {
        let mut conn = self.server.connect().await.expect("connect");
        conn.query_drop("USE bench").await.expect("use");
        conn
    }

    /// A fresh table, and a server that has nothing left to do.
    async fn reset(&self) {
        let mut conn = self.conn().await;
        let table: &[&str] = match self.once {
            true => &["RENAME TABLE base TO t"],
            false => &["CREATE TABLE t LIKE base", "INSERT INTO t SELECT * FROM base"],
        };
        let before = [
            "SET SESSION sql_log_bin = 0",
            "DROP TABLE IF EXISTS t, _t_old, _t_new, _t_replank_old, _t_replank_new, _t_replank_state",
            "DROP TRIGGER IF EXISTS pt_osc_bench_t_ins",
        ];
        let after = [
            "ANALYZE TABLE t",
            "PURGE BINARY LOGS BEFORE NOW()",
            "SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0, GLOBAL innodb_max_dirty_pages_pct = 0",
        ];
        for statement in before.iter().chain(table).chain(&after) {
            conn.query_drop(*statement).await.unwrap_or_else(|e| panic!("{e}: {statement}"));
        }
        let mut ticker = tokio::time::interval(Duration::from_millis(200));
        for _ in 0..300 {
            ticker.tick().await;
            let dirty: Option<(String, u64)> = conn
                .query_first("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'")
                .await
                .expect("status");
            if dirty.is_some_and(|(_, pages)| pages < 100) {
                break;
            }
        }
        conn.query_drop(
            "SET GLOBAL innodb_max_dirty_pages_pct = 90, GLOBAL innodb_max_dirty_pages_pct_lwm = 10",
        )
        .await
        .expect("as it was");
        conn.disconnect().await.expect("disconnect");
    }

    async fn binlog_bytes(&self) -> f64 {
        let mut conn = self.conn().await;
        let logs: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOGS").await.expect("binlogs");
        conn.disconnect().await.expect("disconnect");
        logs.iter().map(|row| row.get::<u64, _>(1).unwrap_or_default() as f64).sum()
    }

    pub(crate) async fn measure(
        &self,
        tool: &Tool,
        load: Load,
        arguments: &[String],
        limit: Duration,
    ) -> Figures {
        self.reset().await;
        let workload = self.workload(load).await;
        if workload.is_some() {
            tokio::time::sleep(BASELINE).await;
        }
        let planned = match tool {
            Tool::Planned => self.plan(arguments).await,
            _ => 0.0,
        };
        let statement = match load {
            Load::Burst => Some(100_000),
            Load::Giant => Some(self.rows),
            Load::Idle | Load::Paced | Load::Full => None,
        };
        let burst = statement.map(|statement| {
            tokio::spawn(burst(self.server.root_opts().into(), self.rows, statement))
        });
        let binlog = self.binlog_bytes().await;
        let began = Instant::now();
        let mut figures = match tool.statement() {
            Some(statement) => {
                let mut conn = self.conn().await;
                let done = tokio::time::timeout(limit, conn.query_drop(statement)).await;
                Figures { finished: matches!(done, Ok(Ok(()))), ..Figures::default() }
            }
            None => self.run(tool, arguments, limit).await,
        };
        let ended = Instant::now();
        if let Some(burst) = burst {
            burst.abort();
        }
        figures.seconds = (ended - began).as_secs_f64();
        figures.planned = planned;
        figures.binlog = (self.binlog_bytes().await - binlog) / 1e6;
        if let Some(workload) = workload {
            // The first writes to the new table belong to the stall of the swap.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let first = workload.began() + Duration::from_secs(2);
            let report = workload.stop().await.expect("the writers end");
            assert_eq!(report.error_count, 0, "application errors: {:?}", report.errors);
            let before = report.latencies.between(first, began);
            let during = report.latencies.between(began, ended);
            figures.kept = during.per_second / before.per_second.max(0.001);
            (figures.p50, figures.p99) = (during.p50_ms, during.p99_ms);
            (figures.p99_before, figures.worst) = (before.p99_ms, during.max_ms);
            let swap = ended - Duration::from_millis(700);
            figures.stall = report.latencies.across(swap, ended).max_ms;
            figures.tell_phases(ended, Some(&report.latencies));
        } else {
            figures.tell_phases(ended, None);
        }
        figures
    }

    async fn workload(&self, load: Load) -> Option<Workload> {
        let rate = match load {
            Load::Idle | Load::Burst | Load::Giant => return None,
            Load::Paced => Some(75.0),
            Load::Full => None,
        };
        let server = Server::from_opts(self.server.root_opts());
        let application = Arc::clone(&self.shape.application);
        let table = TableName::new("bench", "t");
        let mut config = WorkloadConfig::new(table, None, application, self.rows);
        config.rate = rate;
        Some(Workload::start(&server, config).await.expect("the writers begin"))
    }

    /// The seconds that a plan estimates.
    async fn plan(&self, arguments: &[String]) -> f64 {
        let mut command = replank("plan", self.server.port());
        command.arg("-q");
        command.args(arguments);
        let planned = tokio::task::spawn_blocking(move || command.output());
        let planned = planned.await.expect("no panic").expect("it runs");
        assert!(planned.status.success(), "{}", String::from_utf8_lossy(&planned.stderr));
        eprint!("{}", String::from_utf8_lossy(&planned.stderr));
        let plan: serde_json::Value = serde_json::from_slice(&planned.stdout).expect("JSON");
        eprintln!("  plan {}", plan["estimate"]);
        plan["estimate"]["seconds"].as_f64().expect("an estimate")
    }

    async fn run(&self, tool: &Tool, arguments: &[String], limit: Duration) -> Figures {
        let mut command = tool.command(self.server.port(), arguments).expect("a command");
        // Its stderr holds errors alone, unless --arg=-v asks for more: then it is too much for a pipe that nobody reads.
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let (mut processor, mut memory) = (0.0_f64, 0.0_f64);
        let mut ticker = tokio::time::interval(Duration::from_millis(10));
        let began = Instant::now();
        loop {
            ticker.tick().await;
            if let Some((seconds, bytes)) = usage(&child) {
                (processor, memory) = (processor.max(seconds), memory.max(bytes));
            }
            if child.try_wait().expect("its status").is_some() {
                break;
            }
            if began.elapsed() > limit {
                child.kill().expect("killed");
                return Figures { processor, memory, ..Figures::default() };
            }
        }
        let output = child.wait_with_output().expect("its output");
        assert!(output.status.success(), "the tool has failed: {}", output.status);
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let phases = PHASES.map(|phase| {
            let seconds = result[format!("{}_seconds", phase.replace('-', "_"))].as_f64();
            (phase, seconds.unwrap_or_default())
        });
        let lock = result["lock_held_ms"].as_f64().unwrap_or_default();
        Figures { finished: true, processor, memory, lock, phases, ..Figures::default() }
    }
}

/// Changes every row once, so many in a statement.
async fn burst(opts: mysql_async::Opts, rows: u64, statement: u64) {
    let mut conn = Conn::new(opts).await.expect("connect");
    let mut changed = 0_u64;
    let began = Instant::now();
    for first in (0..rows).step_by(statement as usize) {
        // The keys are the even numbers.
        let update = format!(
            "UPDATE bench.t SET k = k + 1 WHERE id BETWEEN {} AND {}",
            2 * first + 1,
            2 * (first + statement)
        );
        conn.query_drop(&update).await.unwrap_or_else(|e| panic!("{e}: {update}"));
        changed += conn.affected_rows();
    }
    let rate = changed as f64 / began.elapsed().as_secs_f64();
    eprintln!("  {changed} rows changed, {rate:.0} a second");
}

/// Processor seconds and peak resident bytes of a process, from /proc.
fn usage(child: &Child) -> Option<(f64, f64)> {
    /// Clock ticks per second, which Linux has the same everywhere.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = peak.trim().split(' ').next()?.parse().ok()?;
    Some((ticks / TICKS, kilobytes * 1024.0))
}

/// Each figure's median on its own.
pub(crate) fn median(figures: &[Figures]) -> Figures {
    let of = |value: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = figures.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Figures {
        seconds: of(|f| f.seconds),
        finished: figures.iter().all(|f| f.finished),
        kept: of(|f| f.kept),
        p50: of(|f| f.p50),
        p99: of(|f| f.p99),
        p99_before: of(|f| f.p99_before),
        worst: of(|f| f.worst),
        stall: of(|f| f.stall),
        lock: of(|f| f.lock),
        processor: of(|f| f.processor),
        memory: of(|f| f.memory),
        binlog: of(|f| f.binlog),
        planned: of(|f| f.planned),
        ..Figures::default()
    }
}

impl Figures {
    pub(crate) const HEADER: &'static str = "| table | rows | load | tool | seconds | to native COPY | throughput kept | p50 ms | p99 ms (before) | \
         worst ms | stall at the swap ms | lock ms | tool: CPU s | MB | binlog MB | planned s (to the real) |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

    pub(crate) fn bar(&self, shape: &str, rows: u64, load: Load, tool: &Tool) -> Bar {
        let what = match load {
            Load::Idle => "idle",
            Load::Paced => "300 transactions/s",
            Load::Full => "4 writers without a pause",
            Load::Burst => "every row changed, 100 000 at a time",
            Load::Giant => "every row changed at once",
        };
        let kept = format!(", {:.0} % of its throughput kept", self.kept * 100.0);
        let mut note = match load {
            Load::Idle | Load::Burst | Load::Giant => String::new(),
            Load::Paced | Load::Full => kept,
        };
        if !self.finished {
            note.push_str(", not finished");
        }
        let group = format!("{shape}, {rows} rows, {what}");
        Bar { group, tool: tool.name(), seconds: self.seconds, note }
    }

    /// One line about the phases of a run of replank, with what the application felt in each.
    fn tell_phases(&self, ended: Instant, latencies: Option<&Latencies>) {
        let all: f64 = self.phases.iter().map(|(_, seconds)| seconds).sum();
        if all == 0.0 {
            return;
        }
        let mut from = ended - Duration::from_secs_f64(all);
        eprint!("  replank {:.1} s", self.seconds);
        for (phase, seconds) in self.phases {
            let to = from + Duration::from_secs_f64(seconds);
            eprint!(", {phase} {seconds:.1}");
            if let Some(latencies) = latencies {
                eprint!(" (p99 {:.1} ms)", latencies.between(from, to).p99_ms);
            }
            from = to;
        }
        eprintln!();
    }

    pub(crate) fn row(
        &self,
        shape: &str,
        rows: u64,
        load: Load,
        tool: &Tool,
        copy: Option<f64>,
    ) -> String {
        let seconds = match self.finished {
            true => format!("{:.1}", self.seconds),
            false => format!("not within {:.0}", self.seconds),
        };
        let ratio = copy.map(|copy| format!("{:.2}", self.seconds / copy)).unwrap_or_default();
        let application = match load {
            Load::Idle | Load::Burst | Load::Giant => "| | | | |".to_owned(),
            Load::Paced | Load::Full => format!(
                "{:.0} % | {:.1} | {:.1} ({:.1}) | {:.0} | {:.0}",
                self.kept * 100.0,
                self.p50,
                self.p99,
                self.p99_before,
                self.worst,
                self.stall
            ),
        };
        let own = match tool {
            Tool::Nothing | Tool::Copy | Tool::Inplace => "| |".to_owned(),
            _ => format!("{:.1} | {:.1} | {:.0}", self.lock, self.processor, self.memory / 1e6),
        };
        let planned = match self.planned > 0.0 {
            true => format!("{:.1} ({:.2})", self.planned, self.planned / self.seconds),
            false => String::new(),
        };
        let (load, name) = (format!("{load:?}").to_lowercase(), tool.name());
        format!(
            "| {shape} | {rows} | {load} | {name} | {seconds} | {ratio} | {application} | {own} | {:.0} | {planned} |",
            self.binlog
        )
    }
}
