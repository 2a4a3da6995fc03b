//! `swifthook deliveries`.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Subcommand;
use http::Method;
use serde::Deserialize;

use super::address::count;
use super::delivery_text;
use super::reach::{Error, Reach, ReachArguments};
use super::screen::{json_line, print};
use super::{CommonArguments, id};
use crate::api::DeliveryView;

/// Deliveries: what was pushed, and what each recipe said.
#[derive(Debug, clap::Args)]
pub struct DeliveriesArguments {
    #[command(flatten)]
    reach: ReachArguments,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List deliveries, newest first.
    List(ListArguments),
    /// Show a delivery.
    Show(DeliveryArguments),
    /// Say why a delivery trained, or did not.
    Explain(DeliveryArguments),
    /// Decide a delivery again by the recipes of the moment, and enqueue what is not known yet.
    Replay(ReplayArguments),
}

#[derive(Debug, clap::Args)]
struct ListArguments {
    /// At most so many.
    #[arg(long, default_value_t = 20, value_parser = count::<usize>)]
    limit: usize,
}

#[derive(Debug, clap::Args)]
struct DeliveryArguments {
    /// Its id or its GUID, as GitHub shows it, or the beginning of one of them.
    #[arg(value_name = "DELIVERY")]
    id: String,
}

#[derive(Debug, clap::Args)]
struct ReplayArguments {
    #[command(flatten)]
    which: DeliveryArguments,
    /// Only say what each recipe says now.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Deserialize)]
struct Page {
    deliveries: Vec<DeliveryView>,
    next: Option<String>,
}

pub(super) fn run(common: &CommonArguments, arguments: &DeliveriesArguments) -> ExitCode {
    match text(common, arguments) {
        Ok(text) => print(&text),
        Err(error) => error.tell(),
    }
}

fn text(common: &CommonArguments, arguments: &DeliveriesArguments) -> Result<Vec<u8>, Error> {
    let reach = Reach::find(common, &arguments.reach)?;
    let json = arguments.reach.json;
    match &arguments.what {
        None => list(&reach, 20, json),
        Some(What::List(list_arguments)) => list(&reach, list_arguments.limit, json),
        Some(What::Show(which)) => one(&reach, which, json, delivery_text::whole),
        Some(What::Replay(replay_arguments)) => replay(&reach, replay_arguments, json),
        Some(What::Explain(which)) => one(&reach, which, json, delivery_text::explained),
    }
}

fn list(reach: &Reach, limit: usize, json: bool) -> Result<Vec<u8>, Error> {
    let body = reach.get(&format!("{DELIVERIES}?limit={limit}"))?;
    if json {
        return Ok(json_line(&body));
    }
    let page: Page = serde_json::from_slice(&body).map_err(Error::Strange)?;
    Ok(delivery_text::list(&page.deliveries, page.next.is_some(), SystemTime::now()).into_bytes())
}

fn one(
    reach: &Reach,
    which: &DeliveryArguments,
    json: bool,
    told: fn(&DeliveryView) -> String,
) -> Result<Vec<u8>, Error> {
    let id = id::whole(reach, "delivery", DELIVERIES, &which.id)?;
    let body = reach.get(&format!("{DELIVERIES}/{id}"))?;
    if json {
        return Ok(json_line(&body));
    }
    Ok(told(&serde_json::from_slice(&body).map_err(Error::Strange)?).into_bytes())
}

fn replay(reach: &Reach, arguments: &ReplayArguments, json: bool) -> Result<Vec<u8>, Error> {
    if !reach.is_server() {
        return Err(Error::NoServer);
    }
    let id = id::whole(reach, "delivery", DELIVERIES, &arguments.which.id)?;
    let body = serde_json::json!({ "dry_run": arguments.dry_run }).to_string();
    let reply = reach.call(Method::POST, &format!("{DELIVERIES}/{id}/replay"), body.into_bytes())?;
    if !reply.status.is_success() {
        return Err(Error::refused(&reply));
    }
    if json {
        return Ok(json_line(&reply.body));
    }
    let replayed = serde_json::from_slice(&reply.body).map_err(Error::Strange)?;
    Ok(delivery_text::replayed(&replayed).into_bytes())
}

const DELIVERIES: &str = "/api/v1/deliveries";
