//! A run's status as metrics, in the OpenMetrics format that Prometheus reads.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode as write;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::control::Status;
use crate::progress::Phase;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPhase {
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySource {
    source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReplica {
    replica: String,
}

type Real = Gauge<f64, AtomicU64>;

/// The metrics of this moment. The registry is made anew for each scrape: the figures live elsewhere.
///
/// # Errors
/// None are known.
pub(super) fn encode(status: &Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    let of = &status;
    registry.register(
        "replank",
        "What is being altered",
        Info::new(vec![
            ("schema", of.schema.clone()),
            ("table", of.table.clone()),
            ("run", of.run.clone()),
            ("version", of.version.clone()),
        ]),
    );
    let phases = Family::<ByPhase, Gauge>::default();
    for phase in Phase::ALL {
        let here = i64::from(phase.name() == of.phase);
        phases.get_or_create(&ByPhase { phase: phase.name() }).set(here);
    }
    registry.register("replank_phase", "1 for the phase that the run is in", phases);

    let mut real = |name: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            let gauge = Real::default();
            gauge.set(value);
            registry.register(name, help, gauge);
        }
    };
    real("replank_run_seconds", "Time since the run began", Some(of.seconds));
    real(
        "replank_rows_estimated",
        "Rows of the table, as the server estimates",
        Some(of.rows_estimated as f64),
    );
    real("replank_backlog_keys", "Changed keys that wait for replay", Some(of.backlog as f64));
    real(
        "replank_stream_lag_seconds",
        "Age of the last heartbeat that came back",
        Some(of.stream_lag_seconds),
    );
    real(
        "replank_heartbeat_commit_seconds",
        "How long a heartbeat takes to commit; nine of ten are quicker",
        of.commit_ms.map(|ms| ms / 1e3),
    );
    real(
        "replank_application_transactions_per_second",
        "Transactions of others in the binlog",
        of.others_per_second,
    );
    real("replank_pace_share", "The copy's share: 2 is two workers without a pause", of.share);

    let mut count = |name: &str, help: &str, value: u64| {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    };
    count("replank_rows_copied", "Rows copied", of.rows_copied);
    count("replank_rows_verified", "Rows compared", of.rows_verified);
    count(
        "replank_keys_replayed",
        "Changed keys replayed; a key counts each time",
        of.keys_replayed,
    );
    count(
        "replank_cut_over_attempts",
        "Attempts to swap the tables",
        u64::from(of.cut_over_attempts),
    );

    let held = Family::<BySource, Gauge>::default();
    for hold in &of.holds {
        held.get_or_create(&BySource { source: hold.source.clone() }).set(1);
    }
    registry.register("replank_held", "1 for each reason to hold the copy", held);
    let lags = Family::<ByReplica, Real>::default();
    for replica in &of.replicas {
        if let Some(lag) = replica.lag_seconds {
            lags.get_or_create(&ByReplica { replica: replica.name.clone() }).set(lag);
        }
    }
    registry.register("replank_replica_lag_seconds", "How far a watched replica is behind", lags);

    let mut text = String::new();
    write(&mut text, &registry)?;
    Ok(text)
}
