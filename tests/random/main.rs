//! Migrations that nobody thought of: a random table, a random ALTER, a random workload.
//!
//! A case is made from a seed and can be written down as JSON. It has to end in one of two ways: done, and
//! equal to the twin that the server altered; or refused or failed, with everything as it was. A case
//! that does neither is shrunk to the smallest one that still does neither, and written to a file that
//! `REPLANK_REPLAY=<file> cargo test --test random replay` runs again.

#[path = "../common/mod.rs"]
mod common;

mod case;
mod catalogue;
mod generate;
mod shrink;

use std::collections::BTreeMap;
use std::path::PathBuf;

use case::{Case, Ending};

/// How many cases run at a time.
const AT_ONCE: usize = 3;

/// Runs the cases of these seeds, and says how they ended.
async fn voyage(seeds: std::ops::Range<u64>) -> BTreeMap<&'static str, u32> {
    let mut endings: BTreeMap<&'static str, u32> = BTreeMap::new();
    let mut running = tokio::task::JoinSet::new();
    let mut seeds = seeds.into_iter();
    loop {
        while running.len() < AT_ONCE
            && let Some(seed) = seeds.next()
        {
            running.spawn(async move {
                let case = generate::case(seed);
                let ending = case.sail().await;
                (case, ending)
            });
        }
        let Some(ended) = running.join_next().await else { break };
        let (case, ending) = ended.expect("a case");
        match &ending {
            Ending::Wrong(why) => {
                running.abort_all();
                while running.join_next().await.is_some() {}
                let (smallest, why) = shrink::shrink(case, why.clone()).await;
                panic!("{why}\nreplay with REPLANK_REPLAY={}", write_down(&smallest).display());
            }
            Ending::Stopped(why) => println!("seed {}: {why}", case.seed),
            Ending::Done => {}
        }
        *endings.entry(ending.name()).or_default() += 1;
    }
    println!("{endings:?}");
    endings
}

fn write_down(case: &Case) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("case-{}.json", case.seed));
    let text = serde_json::to_string_pretty(case).expect("a case as JSON");
    std::fs::write(&path, text).expect("the file");
    path
}

#[tokio::test]
async fn a_few_random_migrations() {
    let endings = voyage(0..12).await;
    assert!(endings.get("done").is_some_and(|done| *done >= 6), "{endings:?}");
}

#[tokio::test]
#[ignore = "long: about five minutes"]
async fn three_hundred_random_migrations() {
    let endings = voyage(1_000..1_300).await;
    assert!(endings.get("done").is_some_and(|done| *done >= 200), "{endings:?}");
}

#[tokio::test]
async fn replay() {
    let Some(path) = std::env::var_os("REPLANK_REPLAY") else { return };
    let text = std::fs::read_to_string(path).expect("the file of REPLANK_REPLAY");
    let case: Case = serde_json::from_str(&text).expect("a case");
    println!("{:#?}", case.scenario());
    match case.sail().await {
        Ending::Wrong(why) => panic!("{why}"),
        ending => println!("{}", ending.name()),
    }
}

/// What a failing case would be shrunk to: only what the failure needs is left.
#[tokio::test]
async fn a_failing_case_is_shrunk_to_what_it_needs() {
    let case = generate::case(5);
    let mut case = Case { clauses: case.clauses, ..case };
    case.clauses.push(case::Clause { text: "COMMENT = 'culprit'".to_owned(), uses: Vec::new() });
    let culprit = |case: &Case| case.clauses.iter().any(|clause| clause.text.contains("culprit"));
    let smallest = shrink::while_it_fails(case, async |case: &Case| culprit(case)).await;
    assert_eq!(smallest.clauses.len(), 1, "{smallest:?}");
    assert!(culprit(&smallest) && smallest.columns.is_empty() && smallest.writers == 0);
}
