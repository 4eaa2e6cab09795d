//! Making a failing case smaller: leave a part out, see whether it still fails, and keep it out if so.

use crate::case::{Case, Ending};

/// The smallest case found that still ends wrong, and why.
pub(crate) async fn shrink(case: Case, why: String) -> (Case, String) {
    let mut last = why;
    let smallest = while_it_fails(case, async |case: &Case| match case.sail().await {
        Ending::Wrong(why) => {
            last = why;
            true
        }
        _ => false,
    })
    .await;
    (smallest, last)
}

/// Leaves out parts as long as `fails` says that the rest still fails.
pub(crate) async fn while_it_fails(
    mut case: Case,
    mut fails: impl AsyncFnMut(&Case) -> bool,
) -> Case {
    loop {
        let mut smaller = None;
        for candidate in candidates(&case) {
            if fails(&candidate).await {
                smaller = Some(candidate);
                break;
            }
        }
        match smaller {
            Some(candidate) => case = candidate,
            None => return case,
        }
    }
}

/// The case with one part less, the largest parts first.
fn candidates(case: &Case) -> Vec<Case> {
    let mut found = Vec::new();
    let mut try_it = |change: &dyn Fn(&mut Case)| {
        let mut smaller = case.clone();
        change(&mut smaller);
        found.push(smaller.consistent());
    };
    if case.writers > 0 {
        try_it(&|case| case.writers = 0);
        try_it(&|case| case.writers /= 2);
    }
    if case.rows > 1 {
        try_it(&|case| case.rows /= 8);
    }
    for i in 0..case.clauses.len() {
        try_it(&|case| drop(case.clauses.remove(i)));
    }
    for i in 0..case.columns.len() {
        try_it(&|case| drop(case.columns.remove(i)));
    }
    for i in 0..case.indexes.len() {
        try_it(&|case| drop(case.indexes.remove(i)));
    }
    for i in 0..case.session.len() {
        try_it(&|case| drop(case.session.remove(i)));
    }
    if case.workers > 1 {
        try_it(&|case| case.workers = 1);
    }
    if !case.options.is_empty() {
        try_it(&|case| case.options.clear());
    }
    // An ALTER needs a clause.
    found.retain(|case| !case.clauses.is_empty());
    found
}
