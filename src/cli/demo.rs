//! `replank demo`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::output::OutputArgs;
use crate::control::Control;
use crate::demo::DemoOptions;
use crate::error::{Error, Result};
use crate::http::Http;
use crate::progress::Progress;

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Rows of the table
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Connections that write while the table is altered
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    writers: u32,
    /// Transactions per second of each writer
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// The mysqld to start; found or fetched by default
    #[arg(long, env = "REPLANK_MYSQLD", value_name = "PATH")]
    mysqld: Option<PathBuf>,
    /// An option for that mysqld, for instance --innodb-buffer-pool-size=4G; may be given several times
    #[arg(long, value_name = "--NAME=VALUE", allow_hyphen_values = true)]
    mysqld_option: Vec<String>,
    /// Another ALTER than the demo's own
    #[arg(long, value_name = "CLAUSES")]
    alter: Option<String>,
    /// Show the run at this address meanwhile
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

pub(super) async fn demo(args: DemoArgs) -> Result<()> {
    let options = DemoOptions {
        rows: args.rows,
        writers: args.writers as usize,
        rate: Some(f64::from(args.rate)),
        mysqld: args.mysqld,
        mysqld_options: args.mysqld_option,
        alter: args.alter,
    };
    let control = Control::new();
    super::stop_on_signal(&control);
    let progress = Progress::new();
    let http = match args.http {
        Some(address) => Some(Http::serve(address, None, &progress, &control).await?),
        None => None,
    };
    if let Some(http) = &http {
        tracing::info!("watch it at http://{}/", http.address());
    }
    let shown = super::display::show(&progress);
    let report = crate::demo::demo(options, &progress, &control).await;
    drop((shown, http));
    let report = report?;
    let document = serde_json::to_value(&report)
        .map_err(|error| Error::failed("writing the report").caused_by(error))?;
    args.output.print(|| report.to_string(), || document);
    Ok(())
}
