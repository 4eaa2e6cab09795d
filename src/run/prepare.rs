//! From a request to a shadow table that is ready to be filled.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use rand::Rng;

use super::broom::Broom;
use crate::error::{Error, Kind, Result};
use crate::key::PartType;
use crate::plan::{Names, Plan};
use crate::preflight;
use crate::schema::alter::AlterStatement;
use crate::schema::checks::{check_names, for_shadow, lost_names};
use crate::schema::indexes::{deferrable, name_of};
use crate::schema::table::Table;
use crate::server::{
    Fault, RunLock, Server, ServerFacts, Session, SessionSettings, fault_of, replicas, to_error,
};
use crate::sql::{TableName, text};
use crate::state::history::{Ending, past_runs};
use crate::state::{Part, Registry, StateTable, Terms, run_mark, structure};
use crate::work::Context;

/// What is to be done to which table.
#[derive(Debug, Clone)]
pub struct Request {
    /// The schema, where the statement or `--database` names one.
    pub schema: Option<String>,
    /// The table, where `--table` names it.
    pub table: Option<String>,
    /// The clauses of an ALTER TABLE, or a whole one.
    pub statement: String,
    /// Seconds that one attempt at the cut-over may keep the application waiting.
    pub lock_wait: u32,
    /// The time zone for conversions of TIMESTAMP; the server's if not given.
    pub time_zone: Option<String>,
    /// For how many seconds after the swap the old table is to be kept in step, so that the swap can be
    /// reverted.
    pub revertible_for: Option<u64>,
    /// When secondary indexes are built.
    pub defer_indexes: DeferIndexes,
}

/// What is to be altered, and how.
#[derive(Debug, Clone)]
pub struct Aim {
    /// The server.
    pub facts: ServerFacts,
    /// The source.
    pub source: TableName,
    /// The ALTER.
    pub alter: AlterStatement,
    /// For how many seconds after the swap the old table is to be kept in step.
    pub revertible_for: Option<u64>,
}

/// Reads the request.
///
/// # Errors
/// Refused when it contradicts itself, or the server is of another kind.
pub async fn aim(session: &mut Session, request: &Request) -> Result<Aim> {
    let facts = ServerFacts::read(session).await?;
    let (source, alter) = target(&facts, request)?;
    Ok(Aim { facts, source, alter, revertible_for: request.revertible_for })
}

/// Reads the table, and checks everything that can be checked without creating anything.
///
/// # Errors
/// Refused with all findings.
pub async fn check(session: &mut Session, aim: &Aim) -> Result<Table> {
    let mut findings = preflight::settings(&aim.facts);
    findings.extend(preflight::group(session).await?);
    findings.extend(preflight::privileges(session, &aim.source.schema).await?);
    preflight::refuse(findings)?;
    let source = Table::read(session, &aim.source).await?.ok_or_else(|| {
        Error::refused(format!("there is no table {}", aim.source))
            .remedy("Check --database and --table; mind the case of the name.")
    })?;
    let mut findings = preflight::structure(&source, &aim.alter);
    findings.extend(preflight::foreign_keys(session, &source).await?);
    findings.extend(preflight::triggers(session, &source).await?);
    findings.extend(preflight::views(session, &source, &aim.alter).await?);
    preflight::refuse(findings)?;
    Ok(source)
}

/// Chooses the names of a run's tables.
///
/// # Errors
/// Refused when they are taken.
async fn choose_names(session: &mut Session, source: &TableName) -> Result<Names> {
    let existing: Vec<String> = session
        .exec(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?",
            (source.schema.as_str(),),
        )
        .await
        .map_err(|e| to_error(e, "reading the names of tables"))?;
    let existing: HashSet<String> = existing.into_iter().map(|name| name.to_lowercase()).collect();
    Names::choose(source, &existing)
}

/// The table that is meant, and what is to be done to it.
fn target(facts: &ServerFacts, request: &Request) -> Result<(TableName, AlterStatement)> {
    let dialect = facts.dialect();
    let alter = match &request.table {
        Some(_) => AlterStatement::parse_clauses(&request.statement, dialect)?,
        None => AlterStatement::parse(&request.statement, dialect)?,
    };
    let (schema, table) = match &alter.table {
        Some((schema, table)) => (schema.clone(), Some(table.clone())),
        None => (None, None),
    };
    let one = |flag: &str, given: &Option<String>, stated: Option<String>| match (given, stated) {
        (Some(given), Some(stated)) if *given != stated => {
            Err(Error::refused(format!("{flag} says {given}, but the statement says {stated}"))
                .remedy(format!("Leave out {flag}, or make them agree.")))
        }
        (given, stated) => Ok(stated.or_else(|| given.clone())),
    };
    // A default database may differ from the schema that the statement names.
    let schema = schema.or_else(|| request.schema.clone()).ok_or_else(|| {
        Error::refused("no database is named")
            .remedy("Give --database, or write the table as database.table in the statement.")
    })?;
    let table = one("--table", &request.table, table)?
        .ok_or_else(|| Error::refused("no table is named").remedy("Give --table."))?;
    Ok((TableName::new(schema, table), alter))
}

/// A shadow table that is ready to be filled.
#[derive(Debug)]
pub struct Prepared {
    /// The server.
    pub facts: ServerFacts,
    /// What the run wrote down about itself.
    pub registry: Registry,
    /// What every worker knows.
    pub context: Context,
    /// The settings of every session that moves rows.
    pub settings: SessionSettings,
}

/// Creates the state table and the shadow table.
///
/// # Errors
/// Refused when the server refuses the ALTER; nothing is left behind then.
pub async fn create(
    server: &Server,
    mut session: Session,
    aim: Aim,
    source: Table,
    request: &Request,
    lock: &RunLock,
) -> Result<(Session, Prepared)> {
    let mut created = Vec::new();
    let outcome = build(&mut session, aim, source, request, lock, &mut created).await;
    match outcome {
        Ok(prepared) => Ok((session, prepared)),
        Err(error) => {
            let mut broom = Broom::new(server, session).await;
            created.reverse();
            if let Err(left) = broom.drop(&created).await {
                tracing::error!(error = %left, "a table is left; `replank cleanup` removes it");
            }
            broom.put_away().await;
            // Whatever failed, everything is as it was.
            Err(if error.kind() == Kind::Failed { error.into_kind(Kind::Refused) } else { error })
        }
    }
}

/// Notes in `created` each table that exists now because of this run, or may exist because the
/// answer was lost. A table that was there before is never among them.
async fn build(
    session: &mut Session,
    aim: Aim,
    source: Table,
    request: &Request,
    lock: &RunLock,
    created: &mut Vec<TableName>,
) -> Result<Prepared> {
    let Aim { facts, alter, .. } = aim;
    let names = choose_names(session, &source.name).await?;
    let run = format!("{:012x}", rand::rng().random_range(0_u64..1 << 48));
    let state = StateTable::at(names.state.clone());
    let by: Option<String> = session
        .query_first("SELECT USER()")
        .await
        .map_err(|e| to_error(e, "reading the name of the account"))?;
    let by = by.unwrap_or_default();
    let registry = Registry::new(&names, &run, &alter.clauses, &by, request.revertible_for);
    create_table(session, &names.state, &state.create_sql(&registry), created).await?;
    state.register(session, &registry).await?;
    let like = format!("CREATE TABLE {} LIKE {}", names.shadow, names.source);
    create_table(session, &names.shadow, &like, created).await?;
    let checks = alter_shadow(session, &facts, &alter, &names).await?;
    let zone = request.time_zone.clone().unwrap_or_else(|| facts.time_zone.clone());
    let started_at = time_in(session, &zone).await?;
    let mut terms = terms(session, &facts, &names, &started_at, &zone).await?;
    let (mut plan, settings) = plan(session, source, &alter, &names, &terms).await?;
    for name in lost_names(&names.source.table, &checks) {
        plan.warnings.push(format!(
            "the CHECK constraint {name} gets another name: names of constraints belong to the schema, \
             where the old table still has it"
        ));
    }
    if request.revertible_for.is_some() {
        plan.warnings.extend(check_way_back(session, &plan, &alter).await?);
    }
    terms.deferred = defer(session, &plan, request.defer_indexes, facts.version_number).await?;
    state.agree(session, Part::Migration, &terms).await?;
    let context = Context {
        plan: Arc::new(plan),
        state,
        owner: lock.owner(),
        part: Part::Migration,
        deferred: Arc::new(terms.deferred),
        mark: run_mark(&run),
    };
    Ok(Prepared { facts, registry, context, settings })
}

/// When secondary indexes that are not unique are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeferIndexes {
    /// After the copy, unless replicas would stand still while they build them.
    #[default]
    Auto,
    /// After the copy.
    Always,
    /// Row by row, with the copy.
    Never,
}

/// A replica's applier stands still while it builds the indexes in one statement; this long does not matter.
const BUILD_TOLERATED: Duration = Duration::from_secs(5);

/// How many bytes of index are built in a second, roughly (MySQL 9.7.4 on two processors: 40 to 80 MB).
const BUILT_PER_SECOND: u64 = 40_000_000;

/// Takes the indexes off the empty shadow table that are to be built when it is filled. Returns their
/// definitions.
async fn defer(
    session: &mut Session,
    plan: &Plan,
    wish: DeferIndexes,
    version: u32,
) -> Result<Vec<String>> {
    let shadow = &plan.names.shadow;
    let wanted = match wish {
        DeferIndexes::Always => true,
        DeferIndexes::Never => false,
        DeferIndexes::Auto => {
            let build = Duration::from_secs(plan.source.index_bytes / BUILT_PER_SECOND);
            build <= BUILD_TOLERATED || !has_replicas(session, version).await?
        }
    };
    if !wanted {
        return Ok(Vec::new());
    }
    let definitions = deferrable(&show_create(session, shadow).await?, &plan.shadow);
    if !definitions.is_empty() {
        let drops: Vec<String> =
            definitions.iter().map(|d| format!("DROP KEY {}", name_of(d))).collect();
        session
            .query_drop(format!("ALTER TABLE {shadow} {}", drops.join(", ")))
            .await
            .map_err(|e| to_error(e, &format!("taking the indexes off {shadow}")))?;
    }
    Ok(definitions)
}

async fn has_replicas(session: &mut Session, version: u32) -> Result<bool> {
    Ok(!replicas(session, version, "looking for replicas").await?.is_empty())
}

/// The time, as a session in that time zone sees it: what NOW() is in a new column of every row.
async fn time_in(session: &mut Session, zone: &str) -> Result<String> {
    let doing = format!("reading the time in the time zone {zone}");
    let set = |zone: &str| format!("SET SESSION time_zone = {}", text(zone));
    session.query_drop(set(zone)).await.map_err(|e| to_error(e, &doing))?;
    let time: Option<String> = session
        .query_first("SELECT DATE_FORMAT(NOW(6), '%Y-%m-%d %H:%i:%s.%f')")
        .await
        .map_err(|e| to_error(e, &doing))?;
    let usual = SessionSettings::default().time_zone;
    session.query_drop(set(&usual)).await.map_err(|e| to_error(e, &doing))?;
    Ok(time.unwrap_or_default())
}

/// Whether the swap can be reverted, and what that would lose.
///
/// # Errors
/// Refused when it cannot.
async fn check_way_back(
    session: &mut Session,
    plan: &Plan,
    alter: &AlterStatement,
) -> Result<Vec<String>> {
    let names = plan.names.back();
    if Table::exists(session, &names.old).await? {
        return Err(Error::refused(format!(
            "{} exists already, and a revert would give its name to the new table",
            names.old
        ))
        .remedy(
            "Rename it, or remove what earlier reverts have left with `replank cleanup --old`.",
        ));
    }
    let back = Plan::back(names, plan.shadow.clone(), plan.source.clone(), alter)
        .map_err(|error| error.during("this ALTER cannot be reverted (--revertible)"))?;
    Ok(back.warnings)
}

/// The terms as they are now.
pub(crate) async fn terms(
    session: &mut Session,
    facts: &ServerFacts,
    names: &Names,
    started_at: &str,
    time_zone: &str,
) -> Result<Terms> {
    Ok(Terms {
        server: facts.uuid.clone(),
        version: facts.version.clone(),
        source: show_structure(session, &names.source).await?,
        shadow: show_structure(session, &names.shadow).await?,
        started_at: started_at.to_owned(),
        time_zone: time_zone.to_owned(),
        deferred: Vec::new(),
    })
}

async fn create_table(
    session: &mut Session,
    name: &TableName,
    sql: &str,
    created: &mut Vec<TableName>,
) -> Result<()> {
    let outcome = session.query_drop(sql).await;
    if !matches!(&outcome, Err(error) if fault_of(error) != Fault::Connection) {
        created.push(name.clone());
    }
    outcome.map_err(|e| to_error(e, &format!("creating {name}")))
}

/// Gives the shadow table the user's ALTER. Returns the names of the source's CHECK constraints.
///
/// The ALTER is run under the `sql_mode` of the server's new sessions, as it would be run by hand.
async fn alter_shadow(
    session: &mut Session,
    facts: &ServerFacts,
    alter: &AlterStatement,
    names: &Names,
) -> Result<Vec<String>> {
    let checks = check_names(&show_create(session, &names.source).await?);
    let clauses =
        for_shadow(alter, &checks, &check_names(&show_create(session, &names.shadow).await?));
    let copy_mode: Option<String> = session
        .query_first("SELECT @@SESSION.sql_mode")
        .await
        .map_err(|e| to_error(e, "reading sql_mode"))?;
    let set_mode = |mode: &str| format!("SET SESSION sql_mode = {}", text(mode));
    session
        .query_drop(set_mode(&facts.sql_mode))
        .await
        .map_err(|e| to_error(e, "setting sql_mode"))?;
    if let Err(e) = session.query_drop(format!("ALTER TABLE {} {clauses}", names.shadow)).await {
        let refused = to_error(e, "the server refuses the ALTER on the (empty) shadow table");
        return Err(refused.remedy(match was_done(session, &names.source, alter).await {
            Some(ended) => format!(
                "The last run on this table carried out this very statement, and ended {ended} UTC: there may be nothing \
                 left to do. `replank list` shows it."
            ),
            None => "Mend the statement; it would be refused on the table itself as well.".to_owned(),
        }));
    }
    session
        .query_drop(set_mode(&copy_mode.unwrap_or_default()))
        .await
        .map_err(|e| to_error(e, "setting sql_mode"))?;
    Ok(checks)
}

/// When the table's last run ended, if that carried out the same ALTER: whoever did not see its end, as its process or
/// the connection to it was killed, gives the command once more.
async fn was_done(
    session: &mut Session,
    source: &TableName,
    alter: &AlterStatement,
) -> Option<String> {
    let (schema, table) = (source.schema.as_str(), source.table.as_str());
    let past = past_runs(session, Some(schema), Some(table)).await.ok()?;
    let (_, last) = past.into_iter().find(|(_, run)| run.ending != Ending::Failed)?;
    (last.ending == Ending::Done && last.alter == alter.clauses).then_some(last.ended)
}

/// Compares the structures of the two tables, and says how sessions have to be set up.
pub(crate) async fn plan(
    session: &mut Session,
    source: Table,
    alter: &AlterStatement,
    names: &Names,
    terms: &Terms,
) -> Result<(Plan, SessionSettings)> {
    let shadow = Table::read(session, &names.shadow)
        .await?
        .ok_or_else(|| Error::refused(format!("{} is gone after the ALTER", names.shadow)))?;
    let mut plan = Plan::new(names.clone(), source, shadow, alter, &terms.started_at)?;
    let settings = settings(&mut plan, terms)?;
    Ok((plan, settings))
}

/// How sessions have to be set up to convert values as the terms say.
///
/// # Errors
/// Refused when keys could not be read in the time zone in which values are to be converted.
pub(crate) fn settings(plan: &mut Plan, terms: &Terms) -> Result<SessionSettings> {
    let mut settings = SessionSettings::default();
    let converts = plan.columns.depends_on_time_zone();
    // The expression of a functional index stands in parentheses of its own.
    let functional = terms.deferred.iter().any(|definition| definition.contains("(("));
    if converts || functional || plan.computes() {
        let zone = &terms.time_zone;
        let by_timestamp =
            plan.key.source.parts.iter().any(|part| matches!(part.ty, PartType::Timestamp { .. }));
        if by_timestamp && *zone != settings.time_zone {
            return Err(Error::refused(format!(
                "the key of {} is a TIMESTAMP, and other values are converted or computed in the time zone \
                 {zone}",
                plan.names.source
            ))
            .remedy("Convert and compute in UTC with --time-zone '+00:00', if that is right."));
        }
        if converts {
            plan.warnings.push(format!(
                "TIMESTAMP values are converted in the time zone {zone} (--time-zone)"
            ));
        }
        settings.time_zone = zone.clone();
    }
    Ok(settings)
}

/// The structure of a table as terms hold it.
pub(super) async fn show_structure(session: &mut Session, table: &TableName) -> Result<String> {
    Ok(structure(&show_create(session, table).await?))
}

async fn show_create(session: &mut Session, table: &TableName) -> Result<String> {
    let row: Option<(String, String)> = session
        .query_first(format!("SHOW CREATE TABLE {table}"))
        .await
        .map_err(|e| to_error(e, &format!("reading the structure of {table}")))?;
    Ok(row.map(|(_, create)| create).unwrap_or_default())
}

/// Opens the first session of a run, for the checks and the DDL.
///
/// # Errors
/// Refused when the server cannot be reached, or turns the user away.
pub async fn open(server: &Server) -> Result<Session> {
    server.session(&SessionSettings::default()).await.map_err(|error| {
        let remedy = match error.next_step() {
            Some(step) => step.to_owned(),
            None if error.to_string().contains("not valid for") => {
                "The certificate does not carry the name that was connected to (a subjectAltName is \
                 needed, also with --tls-mode verify-ca): connect by a name it carries, or use \
                 --tls-mode required."
                    .to_owned()
            }
            None if error.to_string().contains("certificate") => {
                "Give the authority's certificate with --tls-ca, or use --tls-mode required.".to_owned()
            }
            None => "Check --host, --port and --socket, and that the server runs.".to_owned(),
        };
        error.into_kind(Kind::Refused).remedy(remedy)
    })
}
