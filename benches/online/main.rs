//! An ALTER on a table in use: replank against the server's own rebuild and pt-online-schema-change, idle and
//! under writes.
//!
//! ```sh
//! cargo bench --bench online                                    # sysbench's table, 2 million rows, all loads
//! cargo bench --bench online -- --shape all --runs 3            # what docs/performance.md shows
//! cargo bench --bench online -- --shape eight --load idle --tool copy,replank --rows 500000
//! ```
//!
//! Every run begins with a fresh copy of the same table, when the server has written its pages back. Figures are
//! medians; those that say something about a tool are ratios within one run of this program, for machines
//! differ.

mod measure;
mod plot;
mod shapes;
mod tools;

use std::time::Duration;

use clap::Parser;
use replank::throwaway::ThrowawayServer;

use measure::{Bench, Figures, median};
use shapes::Shape;
use tools::Tool;

#[derive(Debug, Parser)]
struct Arguments {
    /// Rows of the sysbench table; the others have fewer where their rows are larger
    #[arg(long, default_value_t = 2_000_000)]
    rows: u64,
    /// Tables: sysbench, eight, wide, uuid, small-pool, or all
    #[arg(long, value_delimiter = ',', default_value = "sysbench")]
    shape: Vec<String>,
    /// Loads: idle, paced (300 transactions/s), full (4 writers without a pause), burst (every row is changed once, in
    /// statements of 100 000 rows), giant (the same in one statement)
    #[arg(long, value_delimiter = ',', default_value = "idle,paced,full")]
    load: Vec<String>,
    /// Tools: nothing (to see what the application does by itself), copy, inplace, pt-osc, replank, planned (how right
    /// the estimate of `replank plan` was)
    #[arg(long, value_delimiter = ',', default_value = "copy,inplace,pt-osc,replank")]
    tool: Vec<String>,
    /// Runs of each
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Arguments for replank, for instance --arg=--workers=2
    #[arg(long = "arg", allow_hyphen_values = true)]
    arguments: Vec<String>,
    /// Options for the server, for instance --mysqld-option=--innodb-log-writer-threads=OFF
    #[arg(long = "mysqld-option", allow_hyphen_values = true)]
    mysqld_options: Vec<String>,
    /// Also draw the seconds as bars, into this SVG file
    #[arg(long)]
    svg: Option<std::path::PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the application does meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    Idle,
    /// 300 transactions a second in all.
    Paced,
    /// As many as four connections can.
    Full,
    /// Every row is changed once, in statements of many rows: what the backlog of changed keys has to bear.
    Burst,
    /// The same in one transaction.
    Giant,
}

impl Load {
    fn of(name: &str) -> Load {
        match name {
            "idle" => Load::Idle,
            "paced" => Load::Paced,
            "full" => Load::Full,
            "burst" => Load::Burst,
            "giant" => Load::Giant,
            other => panic!("--load {other} is none of idle, paced, full, burst, giant"),
        }
    }
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let loads: Vec<Load> = arguments.load.iter().map(|name| Load::of(name)).collect();
    let tools: Vec<Tool> = arguments.tool.iter().filter_map(|name| Tool::of(name)).collect();
    let all = arguments.shape.iter().any(|name| name == "all");
    let wanted = |shape: &Shape| all || arguments.shape.iter().any(|name| name == shape.name);
    println!("{}", Figures::HEADER);
    let mut bars = Vec::new();
    for shape in shapes::all().into_iter().filter(wanted) {
        let rows = (arguments.rows as f64 * shape.share) as u64;
        let mut server = ThrowawayServer::builder()
            .option("--innodb-redo-log-capacity=4G")
            .option("--innodb-log-writer-threads=ON")
            .option("--innodb-log-spin-cpu-abs-lwm=1000000")
            .option("--max-connections=200");
        for option in shape.server {
            server = server.option(*option);
        }
        for option in &arguments.mysqld_options {
            server = server.option(option);
        }
        let server = server.start().await.expect("the server starts");
        let once = arguments.runs * loads.len() * tools.len() == 1;
        let bench = Bench::new(&server, shape, rows, once).await;
        for &load in &loads {
            let mut copy = None;
            for tool in &tools {
                // A rebuild that blocks writes has no throughput to be measured.
                if load != Load::Idle && matches!(tool, Tool::Copy) {
                    continue;
                }
                let mut figures = Vec::new();
                for _ in 0..arguments.runs {
                    let limit = Duration::from_secs(900);
                    figures.push(bench.measure(tool, load, &arguments.arguments, limit).await);
                }
                let median = median(&figures);
                if matches!(tool, Tool::Copy) {
                    copy = Some(median.seconds);
                }
                println!("{}", median.row(bench.shape.name, rows, load, tool, copy));
                bars.push(median.bar(bench.shape.name, rows, load, tool));
            }
        }
    }
    if let Some(path) = &arguments.svg {
        std::fs::write(path, plot::svg(&bars)).expect("the picture is written");
    }
}
