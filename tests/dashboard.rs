//! The page as a browser shows it. Needs Chromium (`apt-get install chromium`), and is asked for by name:
//! `cargo test --test dashboard -- --ignored`.

mod common;

use std::process::Command;
use std::time::Duration;

use common::scenario::{Scenario, Writers};
use common::{Database, Lookout};
use replank::control::Command as Order;
use replank::http::Http;
use replank::run::Options;

/// What the page has become after its script has run for some seconds.
async fn page(url: String) -> String {
    let shown = tokio::task::spawn_blocking(move || {
        let profile = tempfile::tempdir().expect("a folder");
        let output = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(["--virtual-time-budget=6000", "--dump-dom", &url])
            .output()
            .expect("chromium is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    shown.await.expect("no panic")
}

#[tokio::test]
#[ignore = "needs Chromium"]
async fn the_page_shows_the_run_and_why_it_is_held() {
    let db = Database::new("page").await;
    let scenario = Scenario::plain("page").rows(60_000);
    scenario.prepare(&db).await;
    let writers = Writers::start(&scenario, &db).await;
    let mut options = Options {
        rows_per_second: Some(10_000),
        chunk_time: Duration::from_millis(10),
        ..common::options()
    };
    options.throttle.set("peak", "01:00-01:01 Europe/Berlin").expect("right");
    let beside = async |run: &Lookout| {
        let any = "127.0.0.1:0".parse().expect("an address");
        let http = Http::serve(any, None, &run.progress, &run.control).await.expect("it serves");
        assert!(run.copied(2_000).await, "the run ended too early");
        run.control.obey(&Order::Pause, "the test").expect("paused");
        let shown = page(format!("http://{}/", http.address())).await;
        run.control.obey(&Order::Resume, "the test").expect("resumed");
        shown
    };
    let request = db.request("t", &scenario.alter);
    let (outcome, shown) = db.alter_beside(&request, &options, beside).await;
    outcome.expect("done");
    writers.stop(&scenario).await;
    scenario.assert_equal(&db).await;
    let inside = |id: &str| {
        let after = shown
            .split_once(&format!("id=\"{id}\""))
            .unwrap_or_else(|| panic!("no #{id}\n{shown}"))
            .1;
        after.split_once('>').expect("a tag").1.chars().take(600).collect::<String>()
    };
    assert!(shown.contains("data-ready=\"true\""), "nothing was shown: {shown:.2000}");
    assert!(inside("table").starts_with("page.t<"), "{}", inside("table"));
    assert!(inside("phase").starts_with("copy<"), "{}", inside("phase"));
    assert!(inside("holds").contains("paused"), "{}", inside("holds"));
    assert!(inside("events").contains("the test: pause"), "{}", inside("events"));
    assert!(inside("windows").contains("peak begins"), "{}", inside("windows"));
}
