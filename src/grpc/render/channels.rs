//! The configured channels and what each can do.

use std::collections::{BTreeMap, BTreeSet};

use dispatch_contract::{AddressForm, ChannelAdapter, ContentKind, Correlation, OptionField};

use super::{duration, status};
use crate::{
    engine::{Route, RouteTable, RouteTenants, SenderMatch},
    pb::v1,
};

/// The channels that some route serves of those that a tenant reaches, or of all for none, by name, with
/// their adapters and routes. Who else reaches a route is shown only if `shows_tenants`.
pub(crate) fn channels(
    routes: &RouteTable,
    tenant: Option<&str>,
    shows_tenants: bool,
) -> Vec<v1::Channel> {
    let names: BTreeSet<_> = routes.of(tenant).map(|route| route.adapter.channel()).collect();
    names
        .into_iter()
        .map(|channel| {
            let own: Vec<_> =
                routes.of(tenant).filter(|route| route.adapter.channel() == channel).collect();
            let adapters: BTreeMap<_, _> =
                own.iter().map(|route| (route.adapter.name(), &route.adapter)).collect();
            v1::Channel {
                name: channel.as_str().to_owned(),
                adapters: adapters.into_values().map(|it| adapter(&**it)).collect(),
                routes: own.into_iter().map(|it| route(it, shows_tenants)).collect(),
            }
        })
        .collect()
}

fn adapter(adapter: &dyn ChannelAdapter) -> v1::Adapter {
    let can = adapter.capabilities();
    let kinds = |kinds: &[ContentKind]| kinds.iter().map(ToString::to_string).collect();
    v1::Adapter {
        name: adapter.name().to_owned(),
        provider: adapter.provider().to_owned(),
        condition_statuses: can.condition_statuses.iter().copied().map(status).collect(),
        content_kinds: kinds(&can.content),
        caption_kinds: kinds(&can.captions),
        max_text_chars: can.limits.text_chars,
        max_caption_chars: can.limits.caption_chars,
        max_url_bytes: can.limits.url_bytes,
        sender_forms: can.from.iter().copied().map(address_form).collect(),
        recipient_forms: can.to.iter().copied().map(address_form).collect(),
        idempotent_for: can
            .idempotent_for
            .map(|time| duration(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))),
        correlates_by_attempt_id: can.correlation == Correlation::AttemptId,
        can_recall: can.recall,
        sends_in_parts: can.parts,
        tells_by_watermarks: can.watermarks,
        options: can.options.0.iter().map(option).collect(),
    }
}

fn route(route: &Route, shows_tenants: bool) -> v1::Route {
    let sender = match &route.sender {
        SenderMatch::Any => String::new(),
        SenderMatch::Exactly(value) => value.clone(),
    };
    v1::Route {
        name: route.name.to_string(),
        sender,
        adapter: route.adapter.name().to_owned(),
        account: route.account.name.clone(),
        tenants: match &route.tenants {
            RouteTenants::Only(tenants) if shows_tenants => {
                tenants.iter().map(ToString::to_string).collect()
            }
            RouteTenants::All if shows_tenants => vec!["*".to_owned()],
            RouteTenants::Only(_) | RouteTenants::All => Vec::new(),
        },
    }
}

fn address_form(form: AddressForm) -> v1::AddressForm {
    v1::AddressForm { name: form.name().to_owned(), description: form.describe().to_owned() }
}

fn option(field: &OptionField) -> v1::ChannelOption {
    v1::ChannelOption {
        path: field.path.to_owned(),
        description: field.sentence.to_owned(),
        wanted: field.rule.to_string(),
        required: field.is_required,
    }
}
