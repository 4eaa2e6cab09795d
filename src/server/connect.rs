//! Opening connections, and the session settings that make copying exact (I7).

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{ClientIdentity, Conn, DriverError, Opts, OptsBuilder, SslOpts};
use rand::Rng;

use super::fault::to_error;
use crate::config::{Connection, Endpoint, TlsMode};
use crate::error::{Error, Kind, Result};
use crate::sql;

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The `sql_mode` of every session that copies rows (I7). Strict, so that a value that does not fit is
/// an error and not a warning; without `NO_ZERO_DATE` and `NO_ZERO_IN_DATE` and with
/// `ALLOW_INVALID_DATES`, so that a date that is in the table today is copied as it is; with
/// `NO_AUTO_VALUE_ON_ZERO`, so that an id of 0 stays 0.
const COPY_SQL_MODE: &str = "STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,\
     NO_ENGINE_SUBSTITUTION";

/// How long a session may be idle before the server ends it: a day.
pub const IDLE_SECONDS: u32 = 86_400;

/// Settings that differ from one run to another.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// `time_zone` of the session. `+00:00` unless the ALTER converts between TIMESTAMP and another
    /// type, where the result depends on it.
    pub time_zone: String,
    /// Seconds that a statement may wait for a row lock or a metadata lock.
    pub lock_wait: u32,
}

impl Default for SessionSettings {
    fn default() -> Self {
        SessionSettings { time_zone: "+00:00".to_owned(), lock_wait: 10 }
    }
}

/// A server that sessions can be opened on.
#[derive(Debug, Clone)]
pub struct Server {
    opts: Opts,
    /// Whether a server without TLS is spoken to in the clear (`--tls-mode preferred`).
    plain_allowed: bool,
    /// How TLS is spoken where it is: not over a socket of this machine.
    tls: Option<SslOpts>,
    /// The `server_uuid` that the first connection met: an address may lead to another server later, after a failover
    /// or a change of names. None of its connections, the binlog stream's least of all, may go there.
    identity: Arc<OnceLock<String>>,
    display: String,
}

/// A connection with replank's session settings. Dereferences to the driver's connection.
#[derive(Debug)]
pub struct Session {
    conn: Conn,
    opened: Instant,
}

impl Deref for Session {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl Session {
    /// When the connection was opened.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// The bare connection, for a use that turns it into something else (the binlog stream).
    pub fn into_conn(self) -> Conn {
        self.conn
    }

    /// Says goodbye to the server. A connection that is only dropped is closed in the background,
    /// where its locks and its transaction live on for a moment.
    pub async fn close(self) {
        if let Err(error) = self.conn.disconnect().await {
            tracing::debug!(%error, "closing a connection");
        }
    }

    /// Refuses to go on when the last statement left a warning or an error in the diagnostics area
    /// (I7). Notes are what a native ALTER leaves as well, for instance when a DECIMAL loses digits.
    pub async fn refuse_warnings(&mut self, doing: &str) -> Result<()> {
        if self.conn.get_warnings() == 0 {
            return Ok(());
        }
        let warnings: Vec<(String, u16, String)> =
            self.conn.query("SHOW WARNINGS").await.map_err(|e| to_error(e, doing))?;
        match warnings.into_iter().find(|(level, _, _)| level != "Note") {
            None => Ok(()),
            Some((level, code, message)) => Err(Error::failed(format!(
                "{doing}: the server answered with {} {code}: {message}",
                level.to_lowercase()
            ))
            .remedy("Mend the row that the message names, or change the ALTER so that it fits.")),
        }
    }
}

impl Server {
    /// A server at a configured endpoint. No connection is opened yet.
    pub fn new(connection: &Connection) -> Self {
        let mut builder = OptsBuilder::default()
            .user(Some(connection.user.clone()))
            .pass(connection.password.as_ref().map(|secret| secret.expose().to_owned()));
        builder = match &connection.endpoint {
            Endpoint::Tcp { host, port } => {
                builder.ip_or_hostname(host.clone()).tcp_port(*port).prefer_socket(false)
            }
            Endpoint::Socket(path) => {
                builder.prefer_socket(true).socket(Some(path.to_string_lossy().into_owned()))
            }
        };
        let tls = tls_options(connection);
        if matches!(connection.endpoint, Endpoint::Tcp { .. }) {
            builder = builder.ssl_opts(tls.clone());
        }
        Server {
            identity: Arc::default(),
            tls,
            opts: base_options(builder),
            plain_allowed: connection.tls.mode == TlsMode::Preferred,
            display: connection.display(),
        }
    }

    /// A server described by driver options: for tests and the demo, whose server is their own.
    pub fn from_opts(builder: OptsBuilder) -> Self {
        let opts = base_options(builder.prefer_socket(false));
        let display = format!(
            "{}@{}:{}",
            opts.user().unwrap_or_default(),
            opts.ip_or_hostname(),
            opts.tcp_port()
        );
        let (tls, identity) = (opts.ssl_opts().cloned(), Arc::default());
        Server { tls, identity, opts, plain_allowed: false, display }
    }

    /// Another server with the same account and the same settings: a replica, say.
    pub fn at(&self, host: &str, port: u16) -> Server {
        let builder = OptsBuilder::from_opts(self.opts.clone())
            .ip_or_hostname(host.to_owned())
            .tcp_port(port)
            .socket(None::<String>)
            .prefer_socket(false)
            .ssl_opts(self.tls.clone());
        let user = self.opts.user().unwrap_or_default();
        Server {
            opts: builder.into(),
            tls: self.tls.clone(),
            identity: Arc::default(),
            plain_allowed: self.plain_allowed,
            display: format!("{user}@{host}:{port}"),
        }
    }

    /// Where it listens, for telling servers apart: `host:port`, or the socket's path.
    pub fn endpoint(&self) -> String {
        match self.opts.socket().filter(|_| self.opts.prefer_socket()) {
            Some(socket) => socket.to_owned(),
            None => format!("{}:{}", self.opts.ip_or_hostname(), self.opts.tcp_port()),
        }
    }

    /// `user@host:port`, for logs and messages.
    pub fn display(&self) -> &str {
        &self.display
    }

    /// The driver's options, without a schema.
    pub fn opts(&self) -> &Opts {
        &self.opts
    }

    /// A connection with the server's own session settings.
    ///
    /// # Errors
    /// Refused when the server turns the user away; transient when it cannot be reached; failed when another server
    /// answers than before.
    pub async fn connect(&self) -> Result<Session> {
        let session = self.reach().await?;
        self.recognise(session).await
    }

    async fn reach(&self) -> Result<Session> {
        let conn = match self.try_connect(self.opts.clone()).await {
            Err(mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer))
                if self.plain_allowed =>
            {
                let plain = OptsBuilder::from_opts(self.opts.clone()).ssl_opts(None);
                self.try_connect(plain.into()).await
            }
            outcome => outcome,
        };
        let conn = conn.map_err(|e| to_error(e, &format!("connecting to {}", self.display)))?;
        Ok(Session { conn, opened: Instant::now() })
    }

    /// Makes sure that it is the server that was met before.
    async fn recognise(&self, mut session: Session) -> Result<Session> {
        // MariaDB has no such variable, and is refused later.
        let uuid: Option<(String, String)> = session
            .query_first("SHOW GLOBAL VARIABLES LIKE 'server_uuid'")
            .await
            .map_err(|e| to_error(e, &format!("connecting to {}", self.display)))?;
        let uuid = uuid.map(|(_, uuid)| uuid).unwrap_or_default();
        if *self.identity.get_or_init(|| uuid.clone()) != uuid {
            return Err(Error::failed(format!(
                "another server answers at {} than before: its server_uuid is {uuid}",
                self.display
            ))
            .remedy("Give the address of the server itself, not one that moves; then the same command goes on.")
            .keeping_progress());
        }
        Ok(session)
    }

    async fn try_connect(&self, opts: Opts) -> mysql_async::Result<Conn> {
        match tokio::time::timeout(CONNECT_TIMEOUT, Conn::new(opts)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
            )
            .into()),
        }
    }

    /// A connection set up for copying rows. One that breaks before it is, and has done nothing yet, is opened again.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn session(&self, settings: &SessionSettings) -> Result<Session> {
        let mut broken = 0;
        loop {
            let session = self.reach().await?;
            let ready = async { self.set_up(self.recognise(session).await?, settings).await };
            match ready.await {
                Err(error) if error.kind() == Kind::Transient && broken < MOST_BROKEN => {
                    broken += 1;
                    tracing::debug!(%error, broken, "a connection that broke at once is opened again");
                }
                outcome => return outcome,
            }
        }
    }

    async fn set_up(&self, mut session: Session, settings: &SessionSettings) -> Result<Session> {
        session
            .query_drop(format!(
                "SET SESSION sql_mode = '{COPY_SQL_MODE}', time_zone = {zone}, \
                 transaction_isolation = 'READ-COMMITTED', autocommit = 1, \
                 lock_wait_timeout = {wait}, innodb_lock_wait_timeout = {wait}, \
                 wait_timeout = {IDLE_SECONDS}, max_execution_time = 0, sql_safe_updates = 0, \
                 sql_select_limit = DEFAULT, sql_big_selects = 1, unique_checks = 1, \
                 completion_type = 'NO_CHAIN' \
                 /*!80030 , show_gipk_in_create_table_and_information_schema = 1 */, \
                 information_schema_stats_expiry = 0, range_optimizer_max_mem_size = 0, \
                 sql_quote_show_create = 1",
                zone = sql::text(&settings.time_zone),
                wait = settings.lock_wait.max(1),
            ))
            .await
            .map_err(|e| to_error(e, "setting up a session"))?;
        Ok(session)
    }
}

/// How often a connection may break before it is set up.
const MOST_BROKEN: u32 = 3;

/// How long a lost server is waited for: a restart with crash recovery takes that long.
pub const RECONNECT_FOR: Duration = Duration::from_secs(120);

impl Server {
    /// As [`session`](Self::session), trying again for some time while the server cannot be reached.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn session_within(
        &self,
        settings: &SessionSettings,
        patience: Duration,
    ) -> Result<Session> {
        let began = Instant::now();
        let mut attempt = 0;
        loop {
            match self.session(settings).await {
                Err(error) if error.kind() == Kind::Transient && began.elapsed() < patience => {
                    attempt += 1;
                    tracing::debug!(%error, attempt, "connecting");
                    back_off(attempt).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// Waits before another attempt: exponentially longer up to 2 s, with jitter so that two that met
/// each other do not meet again.
pub async fn back_off(attempt: u32) {
    let limit = (10_u64 << attempt.min(8)).min(2_000);
    let wait = rand::rng().random_range(limit / 2..=limit);
    tokio::time::sleep(Duration::from_millis(wait)).await;
}

fn base_options(builder: OptsBuilder) -> Opts {
    builder
        .db_name(None::<String>)
        // The largest packet that the protocol allows, 1 GiB: a row event is as large as its row.
        .max_allowed_packet(Some(1 << 30))
        .tcp_keepalive(Some(Duration::from_secs(30)))
        .stmt_cache_size(0)
        .connect_attribute("program_name", "replank")
        .connect_attribute("program_version", env!("CARGO_PKG_VERSION"))
        .connect_attribute(PROCESS, process())
        .into()
}

/// The connection attribute by which the server knows the process that a connection belongs to.
pub(super) const PROCESS: &str = "replank_process";

/// The value of [`PROCESS`]: another one in every process.
pub(super) fn process() -> &'static str {
    static TOKEN: OnceLock<String> = OnceLock::new();
    TOKEN.get_or_init(|| format!("{:016x}", rand::rng().random::<u64>()))
}

fn tls_options(connection: &Connection) -> Option<SslOpts> {
    let tls = &connection.tls;
    let mut options = SslOpts::default();
    match tls.mode {
        TlsMode::Disabled => return None,
        TlsMode::Preferred | TlsMode::Required => {
            options = options
                .with_danger_accept_invalid_certs(true)
                .with_danger_skip_domain_validation(true);
        }
        TlsMode::VerifyCa => options = options.with_danger_skip_domain_validation(true),
        TlsMode::VerifyIdentity => {}
    }
    if let Some(ca) = &tls.ca {
        options =
            options.with_root_certs(vec![ca.clone().into()]).with_disable_built_in_roots(true);
    }
    if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
        options = options.with_client_identity(Some(ClientIdentity::new(
            cert.clone().into(),
            key.clone().into(),
        )));
    }
    Some(options)
}
