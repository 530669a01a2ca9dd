//! Lists and archives: `$select`, `$filter`, `$orderBy`, `$top`, `$skip`, and paging by `odata.nextLink`. Protocol §7.1, §7.4.

use std::cmp::Ordering;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::entities::Kind;
use super::filter::Filter;
use super::reply::{self, Reply};
use super::webapi::Call;

/// Rows without `$top`. Assumption: the real default was not found.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 10_000;
/// The columns without `$select`: the first of each kind.
const DEFAULT_COLUMNS: usize = 5;

/// The list of `kind`, reached at `path` under the API; all, or those of one contact.
pub(super) fn list(call: &Call<'_>, kind: Kind, path: &str, contact: Option<u32>) -> Reply {
    let query = call.query();
    let plan = match Plan::read(kind, |name| query.get(name)) {
        Ok(plan) => plan,
        Err(text) => return reply::crm_error(StatusCode::BAD_REQUEST, "SoArchiveException", &text),
    };
    let world = call.sandbox.control().world(call.index);
    let belongs = |entity: &Value| contact.is_none_or(|id| value(entity, "/Contact/ContactId") == id);
    let mut rows: Vec<(u32, &Value)> = world.all(kind).filter(|(_, entity)| belongs(entity) && plan.fits(entity)).collect();
    rows.sort_by(|a, b| plan.order(a.1, b.1));
    let more = rows.len() > plan.skip.saturating_add(plan.top);
    let shown: Vec<Value> = rows.into_iter().skip(plan.skip).take(plan.top).map(|(id, entity)| plan.row(id, entity)).collect();
    let address = format!("{}/{path}", call.api);
    let mut feed = json!({ "odata.metadata": format!("{address}/$metadata"), "value": shown });
    if more && plan.top > 0 {
        feed["odata.nextLink"] = format!("{address}?{}", query.with("$skip", &(plan.skip + plan.top).to_string())).into();
    }
    reply::json(StatusCode::OK, &feed)
}

/// A query, understood.
struct Plan {
    kind: Kind,
    /// Name as it was asked for, and where the value is.
    select: Vec<(String, &'static str)>,
    filter: Option<Filter>,
    /// Where the value is, and whether the largest comes first.
    order: Vec<(&'static str, bool)>,
    top: usize,
    skip: usize,
}

impl Plan {
    fn read(kind: Kind, get: impl Fn(&str) -> Option<String>) -> Result<Plan, String> {
        let named = |name: &str| pointer(kind, name).ok_or_else(|| format!("Unknown column '{name}' in archive '{}'", kind.name()));
        let words = |text: Option<String>| -> Vec<String> {
            let text = text.unwrap_or_default();
            text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
        };
        let mut select = words(get("$select"));
        if select.is_empty() {
            select = kind.columns().iter().take(DEFAULT_COLUMNS).map(|(name, _)| (*name).to_owned()).collect();
        }
        let select = select.into_iter().map(|name| named(&name).map(|at| (name, at))).collect::<Result<_, _>>()?;
        let order = words(get("$orderBy")).into_iter().map(|word| {
            let (name, direction) = word.split_once(' ').unwrap_or((&word, "asc"));
            match direction.trim().to_ascii_lowercase().as_str() {
                "asc" => Ok((named(name)?, false)),
                "desc" => Ok((named(name)?, true)),
                other => Err(format!("'{other}' is no direction to order by")),
            }
        });
        let filter = get("$filter").filter(|text| !text.trim().is_empty()).map(|text| Filter::parse(&text)).transpose();
        let filter = filter.map_err(|error| error.to_string())?;
        if let Some(name) = filter.as_ref().and_then(|filter| filter.unknown_column(&|name| pointer(kind, name).is_some())) {
            named(name)?;
        }
        let number = |name: &str, default: usize| match get(name) {
            None => Ok(default),
            Some(text) => text.trim().parse().map_err(|_| format!("{name} is a number, not '{text}'")),
        };
        let (top, skip) = (number("$top", PAGE)?.min(LARGEST_PAGE), number("$skip", 0)?);
        Ok(Plan { kind, select, filter, order: order.collect::<Result<_, _>>()?, top, skip })
    }

    fn fits(&self, entity: &Value) -> bool {
        let column = |name: &str| pointer(self.kind, name).map_or(Value::Null, |at| value(entity, at));
        self.filter.as_ref().is_none_or(|filter| filter.fits(&column))
    }

    fn order(&self, a: &Value, b: &Value) -> Ordering {
        let one = |(at, descending): &(&str, bool)| {
            let order = compare(&value(a, at), &value(b, at));
            if *descending { order.reverse() } else { order }
        };
        self.order.iter().map(one).find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
    }

    fn row(&self, id: u32, entity: &Value) -> Value {
        let mut row = Map::new();
        row.insert("PrimaryKey".into(), id.to_string().into());
        row.insert("EntityName".into(), self.kind.name().to_ascii_lowercase().into());
        row.extend(self.select.iter().map(|(name, at)| (name.clone(), value(entity, at))));
        Value::Object(row)
    }
}

fn pointer(kind: Kind, name: &str) -> Option<&'static str> {
    kind.columns().iter().find(|(column, _)| column.eq_ignore_ascii_case(name)).map(|(_, at)| *at)
}

fn value(entity: &Value, at: &str) -> Value {
    entity.pointer(at).cloned().unwrap_or(Value::Null)
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (a, b) => text(a).cmp(&text(b)),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_lowercase()
}

/// `$select` on one entity: only the members named, in any case.
pub(super) fn select_members(entity: &mut Value, select: &str) {
    let wanted: Vec<&str> = select.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if let Value::Object(members) = entity
        && !wanted.is_empty()
    {
        members.retain(|name, _| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)));
    }
}
