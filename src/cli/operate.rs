//! The options by which a run is throttled, steered and watched.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::{Connection, Secret};
use crate::control::Control;
use crate::control::socket::{Socket, default_path};
use crate::error::Result;
use crate::hooks::Hooks;
use crate::http::{Http, read_token};
use crate::progress::Progress;
use crate::server::Server;
use crate::sql::TableName;
use crate::throttle::{Replica, Throttle};

// Set on each flag: a heading set on the struct would spread to the flags that follow it.
const THROTTLING: &str = "Throttling";
const HOURS: &str = "Hours";
const STEERING: &str = "Steering and watching";

/// What holds the copy.
#[derive(Debug, Args)]
pub(super) struct ThrottleArgs {
    /// A replica whose lag is watched, as mysql://host:port or h=host,P=port; with the account of the server
    /// unless it names one; may be given several times
    #[arg(long, value_name = "DSN", help_heading = THROTTLING)]
    replica: Vec<Secret>,
    /// Watch the replicas that SHOW REPLICAS names; they need report_host
    #[arg(long, help_heading = THROTTLING)]
    discover_replicas: bool,
    /// The lag of a watched replica, measured by replank's own heartbeat, beyond which the copy is held; lag that
    /// cannot be read holds it as well
    #[arg(long, value_name = "TIME", default_value = "1s", help_heading = THROTTLING)]
    max_lag: String,
    /// Status variables beyond which the copy is held: Threads_running=50; separated by commas, or given several
    /// times
    #[arg(long, value_name = "NAME=N", help_heading = THROTTLING)]
    max_load: Vec<String>,
    /// Status variables beyond which the run stops, and keeps its progress
    #[arg(long, value_name = "NAME=N", help_heading = THROTTLING)]
    critical_load: Vec<String>,
    /// Rest for that long at a critical load, instead of stopping
    #[arg(long, value_name = "TIME", requires = "critical_load", help_heading = THROTTLING)]
    critical_load_hibernate: Option<String>,
    /// A statement that returns one number: more than 0 holds the copy
    #[arg(long, value_name = "SQL", help_heading = THROTTLING)]
    throttle_query: Option<String>,
    /// The copy is held while this file exists
    #[arg(long, value_name = "PATH", help_heading = THROTTLING)]
    throttle_file: Option<String>,
    /// The copy is held unless this address answers 200
    #[arg(long, value_name = "URL", help_heading = THROTTLING)]
    throttle_http: Option<String>,
    /// The longest InnoDB history list with which the copy goes on; needs the privilege PROCESS
    #[arg(long, value_name = "N", help_heading = THROTTLING)]
    max_history_list: Option<String>,
    /// What has to be free on the disk of the data directory: 20G; replank has to run on the server's machine
    #[arg(long, value_name = "SIZE", help_heading = THROTTLING)]
    min_free_disk: Option<String>,
    /// Peak hours: "Mon-Fri 08:00-20:00 Europe/Berlin"; days and zone may be left out (every day, this machine's
    /// zone); may be given several times
    #[arg(long, value_name = "WINDOW", help_heading = HOURS)]
    peak: Vec<String>,
    /// What happens within peak hours: pause, gentle, or a number of rows per second
    #[arg(long, value_name = "PACE", default_value = "pause", help_heading = HOURS)]
    peak_pace: String,
    /// A day (2026-12-25) on which no peak hours begin; may be given several times
    #[arg(long, value_name = "DATE", help_heading = HOURS)]
    holiday: Vec<String>,
    /// The copy is held outside of this window: "22:00-05:00"; may be given several times
    #[arg(long, value_name = "WINDOW", help_heading = HOURS)]
    only_within: Vec<String>,
    /// The tables are swapped within this window only; may be given several times
    #[arg(long, value_name = "WINDOW", help_heading = HOURS)]
    cut_over_within: Vec<String>,
}

impl ThrottleArgs {
    /// What they say, for a run on the server of this connection.
    pub(super) fn resolve(&self, connection: &Connection) -> Result<Throttle> {
        let mut throttle =
            Throttle { discover_replicas: self.discover_replicas, ..Throttle::default() };
        for dsn in &self.replica {
            let replica =
                connection.to_replica(dsn.expose()).map_err(|error| error.during("--replica"))?;
            let server = Server::new(&replica);
            throttle.replicas.push(Replica { name: server.endpoint(), server });
        }
        let one = |value: &Option<String>| value.clone().unwrap_or_default();
        for (name, value) in [
            ("max-lag", self.max_lag.clone()),
            ("max-load", self.max_load.join(";")),
            ("critical-load", self.critical_load.join(";")),
            ("critical-load-hibernate", one(&self.critical_load_hibernate)),
            ("throttle-query", one(&self.throttle_query)),
            ("throttle-file", one(&self.throttle_file)),
            ("throttle-http", one(&self.throttle_http)),
            ("max-history-list", one(&self.max_history_list)),
            ("min-free-disk", one(&self.min_free_disk)),
            ("peak", self.peak.join(";")),
            ("peak-pace", self.peak_pace.clone()),
            ("holiday", self.holiday.join(";")),
            ("only-within", self.only_within.join(";")),
            ("cut-over-within", self.cut_over_within.join(";")),
        ] {
            if !value.is_empty() {
                throttle.set(name, &value)?;
            }
        }
        Ok(throttle)
    }
}

/// How a run is steered and watched.
#[derive(Debug, Args)]
pub(super) struct SteerArgs {
    /// Wait with the swap, verified and in step, until `replank cut-over`, or until a window of --cut-over-within opens
    /// if there is one
    #[arg(long, help_heading = STEERING)]
    postpone_cut_over: bool,
    #[command(flatten)]
    socket: SocketArg,
    /// Show the run at this address: a page at /, /status, /metrics for Prometheus, /healthz
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = STEERING)]
    http: Option<SocketAddr>,
    /// File with the token of those who may steer by HTTP
    #[arg(long, value_name = "PATH", requires = "http", help_heading = STEERING)]
    http_token_file: Option<PathBuf>,
    /// Folder of programs that are called at points of the run: before-copy, copy-done, before-cut-over (which
    /// may put the swap off), after-cut-over, throttled, resumed, interrupted, failed, done
    #[arg(long, value_name = "DIR", help_heading = STEERING)]
    hooks: Option<PathBuf>,
    /// How long one of them may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration,
          help_heading = STEERING)]
    hook_timeout: Duration,
}

/// Where the control socket is.
#[derive(Debug, Clone, Args)]
pub(super) struct SocketArg {
    /// Unix socket by which the run is steered; "none" for no socket [default: one in $XDG_RUNTIME_DIR/replank, or in
    /// a folder of the user's among the temporary files]
    #[arg(long, value_name = "PATH", help_heading = STEERING)]
    control_socket: Option<PathBuf>,
}

impl SocketArg {
    /// The socket's path for a run on this table; None for no socket. Says as well whether it was named.
    pub(super) fn path(&self, server: &Server, table: &TableName) -> Option<(PathBuf, bool)> {
        match &self.control_socket {
            Some(path) if path.as_os_str() == "none" => None,
            Some(path) => Some((path.clone(), true)),
            None => match default_path(&server.endpoint(), table) {
                Ok(path) => Some((path, false)),
                Err(error) => {
                    tracing::warn!("{error}; the run can be steered through the database");
                    None
                }
            },
        }
    }
}

/// What listens while a run goes on.
#[derive(Debug)]
pub(super) struct Listening {
    _socket: Option<Socket>,
    _http: Option<Http>,
}

impl SteerArgs {
    pub(super) fn postpones_cut_over(&self) -> bool {
        self.postpone_cut_over
    }

    pub(super) fn hooks(&self) -> Result<Option<Hooks>> {
        self.hooks.as_ref().map(|folder| Hooks::open(folder, self.hook_timeout)).transpose()
    }

    /// Begins to listen for a run on this table. A socket that nobody asked for may fail.
    pub(super) async fn listen(
        &self,
        server: &Server,
        table: &TableName,
        progress: &Progress,
        control: &Control,
    ) -> Result<Listening> {
        let socket = async {
            let Some((path, named)) = self.socket.path(server, table) else { return Ok(None) };
            match Socket::listen(&path, progress, control).await {
                Ok(socket) => {
                    tracing::debug!(path = %path.display(), "control socket");
                    Ok(Some(socket))
                }
                Err(error) if named => Err(error),
                Err(error) => {
                    tracing::warn!("{error}; the run can be steered through the database");
                    Ok(None)
                }
            }
        };
        let token = self.http_token_file.as_deref().map(read_token).transpose()?;
        let http = match self.http {
            Some(address) => {
                let http = Http::serve(address, token, progress, control).await?;
                tracing::info!("watch it at http://{}/", http.address());
                Some(http)
            }
            None => None,
        };
        Ok(Listening { _socket: socket.await?, _http: http })
    }
}
