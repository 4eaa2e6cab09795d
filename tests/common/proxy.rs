//! A TCP proxy between replank and the server that loses what it is told to lose.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mysql_async::OptsBuilder;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens to a statement whose text contains certain words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The connection breaks before the statement reaches the server.
    Request,
    /// The server carries it out; the connection breaks before the answer comes back.
    Answer,
    /// The server carries it out; nothing is heard of the connection any more, though it stays open.
    Silence,
}

#[derive(Debug)]
struct Rule {
    words: &'static str,
    loss: Loss,
    /// How many such statements the client has sent, lost ones as well.
    sent: u32,
    /// How many statements pass before each loss, and how many more losses there are.
    every: u32,
    passed: u32,
    left: u32,
}

#[derive(Debug)]
struct State {
    rules: Mutex<Vec<Rule>>,
    losses: AtomicU32,
    /// The most bytes that a connection transports in both directions before it breaks, and the dice.
    lifetimes: Mutex<Option<(u64, u64, StdRng)>>,
    cuts: AtomicU32,
    /// Delay of everything that the client sends, in milliseconds.
    delay: AtomicU64,
    /// The port that new connections are led to.
    target: AtomicU16,
    /// How many connections there are.
    open: watch::Sender<u32>,
    /// Whether the server can be reached: when not, connections end and new ones are refused.
    reachable: watch::Sender<bool>,
}

/// The proxy; dropping it ends it and its connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy to a port of this machine.
    pub(crate) async fn to(port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let own = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            rules: Mutex::new(Vec::new()),
            losses: AtomicU32::new(0),
            lifetimes: Mutex::new(None),
            cuts: AtomicU32::new(0),
            delay: AtomicU64::new(0),
            target: AtomicU16::new(port),
            open: watch::Sender::new(0),
            reachable: watch::Sender::new(true),
        });
        let mut tasks = JoinSet::new();
        let shared = state.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                if *shared.reachable.borrow() {
                    let (target, state) = (shared.target.load(Ordering::Relaxed), shared.clone());
                    state.open.send_modify(|open| *open += 1);
                    connections.spawn(async move {
                        forward(client, target, &state).await;
                        state.open.send_modify(|open| *open -= 1);
                    });
                }
            }
        });
        Proxy { port: own, state, _tasks: tasks }
    }

    /// The port that it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Leads new connections to another port.
    pub(crate) fn lead_to(&self, port: u16) {
        self.state.target.store(port, Ordering::Relaxed);
    }

    /// The same options, through the proxy.
    pub(crate) fn through(&self, opts: OptsBuilder) -> OptsBuilder {
        opts.tcp_port(self.port)
    }

    /// From now on loses every `every`th statement that contains `words`, `times` times.
    pub(crate) fn lose(&self, loss: Loss, words: &'static str, every: u32, times: u32) {
        let rule = Rule { words, loss, sent: 0, every, passed: 0, left: times };
        self.state.rules.lock().expect("rules").push(rule);
    }

    /// How many statements or answers were lost.
    pub(crate) fn losses(&self) -> u32 {
        self.state.losses.load(Ordering::Relaxed)
    }

    /// How many statements with these words, of which some were to be lost, the client has sent since.
    pub(crate) fn sent(&self, words: &str) -> u32 {
        let rules = self.state.rules.lock().expect("rules");
        rules.iter().filter(|rule| rule.words == words).map(|rule| rule.sent).sum()
    }

    /// From now on every new connection breaks after a random number of bytes between these, in
    /// the middle of a packet as likely as not.
    pub(crate) fn break_after(&self, least: u64, most: u64, seed: u64) {
        let dice = (least, most, StdRng::seed_from_u64(seed));
        *self.state.lifetimes.lock().expect("lifetimes") = Some(dice);
    }

    /// Lets connections live again.
    pub(crate) fn mend(&self) {
        *self.state.lifetimes.lock().expect("lifetimes") = None;
    }

    /// How many connections broke after their number of bytes.
    pub(crate) fn cuts(&self) -> u32 {
        self.state.cuts.load(Ordering::Relaxed)
    }

    /// Delays everything that a client sends.
    pub(crate) fn delay(&self, delay: Duration) {
        self.state.delay.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    /// Makes the server unreachable, or reachable again.
    pub(crate) fn reachable(&self, reachable: bool) {
        self.state.reachable.send_replace(reachable);
    }

    /// Waits until no connection is left.
    pub(crate) async fn all_closed(&self) {
        let mut open = self.state.open.subscribe();
        open.wait_for(|open| *open == 0).await.expect("the proxy lives");
    }
}

impl State {
    /// What happens to what a client has sent.
    fn judge(&self, sent: &[u8]) -> Option<Loss> {
        let mut rules = self.rules.lock().expect("rules");
        let contains = |words: &str| sent.windows(words.len()).any(|w| w == words.as_bytes());
        let mut met = None;
        for rule in rules.iter_mut().filter(|rule| contains(rule.words)) {
            rule.sent += 1;
            if rule.left > 0 && met.is_none() {
                met = Some(rule);
            }
        }
        let rule = met?;
        rule.passed += 1;
        if rule.passed < rule.every {
            return None;
        }
        (rule.passed, rule.left) = (0, rule.left - 1);
        self.losses.fetch_add(1, Ordering::Relaxed);
        Some(rule.loss)
    }

    fn lifetime(&self) -> u64 {
        match &mut *self.lifetimes.lock().expect("lifetimes") {
            Some((least, most, dice)) => dice.random_range(*least..=*most),
            None => u64::MAX,
        }
    }
}

/// Carries one connection to its end.
async fn forward(client: TcpStream, port: u16, state: &State) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    // As both ends would have it without a proxy.
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let lifetime = Arc::new(AtomicU64::new(state.lifetime()));
    let (lost, loss) = watch::channel(None);
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let mut reachable = state.reachable.subscribe();
    tokio::select! {
        () = requests(client_reads, server_writes, state, &lifetime, lost) => {}
        () = answers(server_reads, client_writes, state, &lifetime, loss) => {}
        _ = reachable.wait_for(|reachable| !reachable) => {}
    }
}

/// Takes `sent` bytes off a connection's lifetime; fewer than `sent` are left when it ends.
fn live(lifetime: &AtomicU64, sent: usize) -> usize {
    let sent = sent as u64;
    let before = lifetime
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            Some(if left == u64::MAX { left } else { left.saturating_sub(sent) })
        })
        .unwrap_or(0);
    before.min(sent) as usize
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    lifetime: &AtomicU64,
    lost: watch::Sender<Option<Loss>>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let loss = state.judge(&buffer[..count]);
        if loss == Some(Loss::Request) {
            return;
        }
        if loss.is_some() {
            lost.send_replace(loss);
        }
        let delay = state.delay.load(Ordering::Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        let alive = live(lifetime, count);
        if to.write_all(&buffer[..alive]).await.is_err() {
            return;
        }
        if alive < count {
            state.cuts.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    lifetime: &AtomicU64,
    loss: watch::Receiver<Option<Loss>>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let lost = *loss.borrow();
        match lost {
            Some(Loss::Answer) => return,
            Some(_) => {
                // Whatever else the server says is lost as well.
                while let Ok(1..) = from.read(&mut buffer).await {}
                std::future::pending::<()>().await;
            }
            None => {}
        }
        let alive = live(lifetime, count);
        if to.write_all(&buffer[..alive]).await.is_err() {
            return;
        }
        if alive < count {
            state.cuts.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
}
