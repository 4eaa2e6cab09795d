use super::*;
use crate::control::socket::respond;
use crate::progress::Progress;

fn begun() -> Control {
    let control = Control::new();
    let settings = Settings {
        pace: Pace::Balanced,
        workers: 4,
        rows_per_second: None,
        chunk_time: Duration::from_millis(50),
        max_changed_keys: MAX_CHANGED_KEYS,
        throttle: Throttle::default(),
        postpone_cut_over: false,
    };
    let subject = Subject { table: "users".to_owned(), ..Subject::default() };
    control.begin(settings, subject);
    control
}

fn orders(control: &Control) -> Orders {
    control.orders().expect("it has begun")
}

fn obey(control: &Control, json: &str) -> socket::Answer {
    respond(json, "test", &Progress::new(), control)
}

#[test]
fn every_reason_holds_until_it_is_gone() {
    let control = begun();
    assert_eq!(orders(&control).held, None);
    control.hold(Source::MaxLoad, Some("Threads_running is 61".to_owned()));
    assert!(obey(&control, r#"{"command":"pause"}"#).ok);
    let held = orders(&control).held.expect("held");
    assert!(held.contains("paused") && held.contains("Threads_running is 61"), "{held}");
    control.hold(Source::MaxLoad, None);
    assert!(orders(&control).held.is_some(), "still paused");
    let answer = obey(&control, r#"{"command":"resume"}"#);
    assert_eq!(answer.text.as_deref(), Some("It goes on."));
    assert_eq!(orders(&control).held, None);
    let status = Status::of(&Progress::new(), &control);
    let texts: Vec<&str> = status.events.iter().map(|event| &*event.text).collect();
    assert_eq!(
        texts,
        [
            "held by max-load: Threads_running is 61",
            "test: pause",
            "no longer held by max-load",
            "test: resume"
        ]
    );
}

#[test]
fn settings_are_changed_as_a_whole_or_not_at_all() {
    let control = begun();
    for set in [
        r#"{"command":"set","name":"pace","value":"gentle"}"#,
        r#"{"command":"set","name":"chunk-time","value":"200"}"#,
        r#"{"command":"set","name":"workers","value":"2"}"#,
        r#"{"command":"set","name":"max-rows-per-sec","value":"5000"}"#,
        r#"{"command":"set","name":"max-load","value":"Threads_running=9"}"#,
    ] {
        let answer = obey(&control, set);
        assert!(answer.ok, "{set}: {answer:?}");
    }
    let now = orders(&control);
    assert_eq!((now.pace, now.workers, now.rows_per_second), (Pace::Gentle, 2, Some(5000)));
    assert_eq!(now.chunk_time, Duration::from_millis(200));
    for wrong in [
        r#"{"command":"set","name":"pace","value":"reckless"}"#,
        r#"{"command":"set","name":"chunk-time","value":"1"}"#,
        r#"{"command":"set","name":"workers","value":"0"}"#,
        r#"{"command":"set","name":"lock-wait","value":"3"}"#,
        r#"{"command":"set","name":"peak","value":"now"}"#,
        r#"{"command":"set","name":"pace"}"#,
        r#"{"command":"sing"}"#,
        "pause",
    ] {
        let answer = obey(&control, wrong);
        assert!(!answer.ok && answer.error.is_some(), "{wrong}: {answer:?}");
    }
    assert_eq!(orders(&control).pace, Pace::Gentle);
    obey(&control, r#"{"command":"set","name":"max-rows-per-sec","value":"none"}"#);
    assert_eq!(orders(&control).rows_per_second, None);
}

#[test]
fn peak_hours_slow_the_copy_and_give_it_back() {
    let control = begun();
    control.set_peak(Some(PeakPace::Rows(100)));
    assert_eq!(orders(&control).rows_per_second, Some(100));
    control.set_peak(Some(PeakPace::Gentle));
    assert_eq!(orders(&control).pace, Pace::Gentle);
    control.set_peak(None);
    let now = orders(&control);
    assert_eq!((now.pace, now.rows_per_second), (Pace::Balanced, None));
}

#[test]
fn a_postponed_swap_waits_for_the_operator_or_for_its_window() {
    let control = begun();
    obey(&control, r#"{"command":"set","name":"cut-over-within","value":"02:00-03:00 UTC"}"#);
    control.close_cut_over(Some("until two".to_owned()));
    assert_eq!(orders(&control).cut_over_waits.as_deref(), Some("until two"));
    control.close_cut_over(None);
    assert_eq!(orders(&control).cut_over_waits, None);
    let postponed = Settings { postpone_cut_over: true, ..begun().settings().expect("settings") };
    control.begin(postponed, Subject::default());
    assert!(orders(&control).cut_over_waits.is_some());
    control.hook_cut_over(Some("not yet".to_owned()));
    assert!(obey(&control, r#"{"command":"cut-over"}"#).ok);
    assert_eq!(orders(&control).cut_over_waits.as_deref(), Some("not yet"), "the hook is asked");
    control.hook_cut_over(None);
    assert_eq!(orders(&control).cut_over_waits, None, "the operator decides");
}

#[test]
fn an_abort_names_its_table_and_outdoes_a_stop() {
    let control = begun();
    assert!(!obey(&control, r#"{"command":"abort","table":"orders"}"#).ok);
    assert_eq!(control.ending(), None);
    assert!(obey(&control, r#"{"command":"stop"}"#).ok);
    assert!(!obey(&control, r#"{"command":"pause"}"#).ok, "it is ending");
    assert!(obey(&control, r#"{"command":"abort","table":"users"}"#).ok);
    control.stop();
    assert_eq!(control.ending(), Some(Ending::Abort));
}

#[test]
fn nothing_is_promised_before_the_run_begins_or_when_it_is_too_late() {
    let early = Control::new();
    for command in ["pause", "resume", "cut-over"] {
        let answer = obey(&early, &format!(r#"{{"command":"{command}"}}"#));
        assert!(answer.error.expect("a no").contains("not begun yet"), "{command}");
    }
    let control = begun();
    control.set_swapping(true);
    assert!(!obey(&control, r#"{"command":"stop"}"#).ok, "the rename was sent");
    let settings = control.settings().expect("settings");
    let guard = Subject { goes_back: true, table: "users".to_owned(), ..Subject::default() };
    control.begin(settings, guard);
    let answer = obey(&control, r#"{"command":"abort","table":"users"}"#);
    assert!(answer.error.expect("a no").contains("replank revert"));
}

#[test]
fn the_bell_rings_once_for_many_changes() {
    let control = begun();
    control.hold(Source::File, Some("it exists".to_owned()));
    control.hold(Source::File, None);
    control.stop();
    assert!(control.bell().try_recv().is_ok());
    assert!(control.bell().try_recv().is_err());
}

#[test]
fn a_status_is_a_document_that_comes_back_as_it_was() {
    let control = begun();
    control.hold(Source::Disk, Some("full".to_owned()));
    let answer = obey(&control, r#"{"command":"status"}"#);
    let text = serde_json::to_string(&answer).expect("written");
    assert_eq!(serde_json::from_str::<socket::Answer>(&text).expect("read"), answer);
    let status = answer.status.expect("a status");
    assert_eq!((status.table.as_str(), status.holds[0].source.as_str()), ("users", "disk"));
}
