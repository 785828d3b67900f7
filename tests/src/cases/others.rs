//! What the services around the gateway say: providers, lists, the limit service.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use portcullis_engine::{Callout, FetchResult};
use serde_json::Value;

use super::{ADDRESS_LIST, EndpointAnswer, LIMIT_SERVICE, REVOCATION_LIST, ServiceLimit, host};
use crate::rls::{self, Question, Reply};

/// The services around the gateway.
pub struct Others {
    /// What each says.
    pub answers: BTreeMap<String, EndpointAnswer>,
    /// Whose a cluster and path are.
    pub places: HashMap<(String, String), String>,
    /// What the limit service was asked since the request before.
    pub asked: Vec<String>,
    /// What it has counted, by descriptor.
    counted: HashMap<String, u64>,
}

impl Others {
    /// Those that the configuration names; they say nothing yet.
    pub fn of(configuration: &Value) -> Self {
        let (answers, asked, counted) = (BTreeMap::new(), Vec::new(), HashMap::new());
        Self { answers, places: places(configuration), asked, counted }
    }

    /// What is answered, and how long that takes.
    pub fn answer(&mut self, fetch: &Callout) -> (Duration, FetchResult) {
        let place = (fetch.cluster.clone(), fetch.path.clone());
        if let Some(question) = Question::read(&fetch.body).filter(|_| fetch.path == rls::PATH) {
            let texts: Vec<String> = question.descriptors.iter().map(rls::Descriptor::text).collect();
            self.asked.push(format!("{} + {}", texts.join(" | "), question.hits));
            if let Some(EndpointAnswer::Limits(limits)) = self.answers.get(LIMIT_SERVICE) {
                let reply = count(limits, &question, &mut self.counted);
                let grpc = (b"content-type".to_vec(), b"application/grpc".to_vec());
                let headers = host::header_map(&[(b":status".to_vec(), b"200".to_vec()), grpc]);
                let trailers = host::header_map(&[(b"grpc-status".to_vec(), b"0".to_vec())]);
                return (Duration::ZERO, FetchResult::Answer { headers, trailers, body: reply.body().to_vec() });
            }
        }
        match self.places.get(&place).and_then(|provider| self.answers.get(provider)) {
            Some(EndpointAnswer::ByToken(known)) => {
                let form = String::from_utf8_lossy(&fetch.body);
                let token = form.split('&').find_map(|pair| pair.strip_prefix("token="));
                let answer = known.iter().find(|(known, _)| Some(known.as_str()) == token);
                let body = answer.map_or("{\"active\": false}", |(_, answer)| answer.as_str());
                let headers = host::header_map(&[(b":status".to_vec(), b"200".to_vec())]);
                (Duration::ZERO, FetchResult::Answer { headers, trailers: Vec::new(), body: body.as_bytes().to_vec() })
            }
            None | Some(EndpointAnswer::Down | EndpointAnswer::Limits(_)) => (Duration::ZERO, FetchResult::NoAnswer),
            Some(EndpointAnswer::Hanging) => (fetch.timeout, FetchResult::NoAnswer),
            Some(EndpointAnswer::Answer { status, headers, body }) => {
                let mut lines = vec![(b":status".to_vec(), status.to_string().into_bytes())];
                lines.extend(
                    headers.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone().into_bytes())),
                );
                let body = body.clone().into_bytes();
                let max = fetch.max_response_bytes.saturating_add(1);
                let body = body.into_iter().take(max).collect();
                (Duration::ZERO, FetchResult::Answer { headers: host::header_map(&lines), trailers: Vec::new(), body })
            }
        }
    }
}

/// Counts as a limit service does: all descriptors, or none if one refuses.
fn count(limits: &[ServiceLimit], question: &Question, counted: &mut HashMap<String, u64>) -> Reply {
    let cost = question.hits.max(1);
    // In a question for Limitador each entry is a limit.
    let is_split = question.descriptors.iter().any(|descriptor| descriptor.value("limit").is_none());
    let descriptors: Vec<rls::Descriptor> = match question.descriptors.as_slice() {
        [all] if is_split => {
            let entries = all.entries.iter().cloned();
            let of = |(limit, key)| vec![("limit".to_owned(), limit), ("key".to_owned(), key)];
            entries.map(|entry| rls::Descriptor { entries: of(entry), rate: None }).collect()
        }
        separate => separate.to_vec(),
    };
    let known =
        |descriptor: &rls::Descriptor| limits.iter().find(|limit| descriptor.value("limit") == Some(&limit.name));
    let used = |descriptor: &rls::Descriptor| counted.get(&descriptor.text()).copied().unwrap_or(0);
    let is_over = |descriptor: &rls::Descriptor| {
        known(descriptor).is_some_and(|limit| used(descriptor).saturating_add(cost) > limit.most)
    };
    let over: Vec<bool> = descriptors.iter().map(is_over).collect();
    let refused = over.contains(&true);
    if !refused {
        for descriptor in &descriptors {
            *counted.entry(descriptor.text()).or_default() += cost;
        }
    }
    let byte = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
    let status = |(descriptor, over): (&rls::Descriptor, &bool)| {
        let limit = known(descriptor).filter(|limit| !limit.is_silent && !is_split)?;
        let left = limit.most.saturating_sub(counted.get(&descriptor.text()).copied().unwrap_or(0));
        Some((if *over { 2 } else { 1 }, byte(limit.most), byte(left), 17))
    };
    let statuses: Option<Vec<_>> = descriptors.iter().zip(&over).map(status).collect();
    Reply { code: if refused { 2 } else { 1 }, statuses: statuses.unwrap_or_default(), headers: Vec::new() }
}

/// Whose every cluster and path is: a provider's key set or introspection endpoint, the list of revoked tokens, or one of addresses.
fn places(configuration: &Value) -> HashMap<(String, String), String> {
    let place = |section: &Value| {
        let text = |member: &str| section.get(member).and_then(Value::as_str).map(str::to_owned);
        Some((text("cluster")?, text("path")?))
    };
    let providers = configuration.get("providers").and_then(Value::as_object).into_iter().flatten();
    let of_providers = providers.filter_map(|(name, provider)| {
        let endpoint = provider.get("jwks").or_else(|| provider.get("introspection"))?;
        Some((place(endpoint)?, name.clone()))
    });
    let list = configuration.get("revocation").and_then(place);
    let lists = configuration.get("address_lists").and_then(Value::as_object).into_iter().flatten();
    let of_lists = lists.filter_map(|(name, list)| Some((place(list)?, format!("{ADDRESS_LIST} {name}"))));
    let service = configuration.pointer("/limit_service/cluster").and_then(Value::as_str);
    let of_service = service.map(|cluster| ((cluster.to_owned(), rls::PATH.to_owned()), LIMIT_SERVICE.to_owned()));
    let of_revocation = list.map(|place| (place, REVOCATION_LIST.to_owned()));
    of_providers.chain(of_revocation).chain(of_lists).chain(of_service).collect()
}
