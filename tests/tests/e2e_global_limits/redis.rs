//! Limitador's counters on a real Redis, so that two of it count together.
//!
//! The crate has a storage for Redis, which does not compile without its storage on disk, and so without RocksDB. This one keeps to
//! the trait that it offers for others; the counting and the check are one script, so that they are one step for all.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use limitador::RateLimiter;
use limitador::counter::Counter;
use limitador::limit::Limit;
use limitador::storage::{Authorization, CounterStorage, StorageErr};
use portcullis_tests::elsewhere::skipped;
use portcullis_tests::redis::{Connection, Redis};
use portcullis_tests::rls::{Descriptor, Question};
use serde_json::json;

use super::{DAY, DOMAIN, count, limit};

/// A Redis; `None`, and a word about it, on a machine that has none.
pub fn start() -> Option<Redis> {
    match Redis::missing() {
        None => Some(Redis::start().unwrap()),
        Some(missing) => {
            skipped(&format!("Redis ({missing} is missing: scripts/setup --with-redis)"));
            None
        }
    }
}

pub struct RedisCounters(Mutex<Connection>);

/// Counts `ARGV[1]` in all keys, or in none, or only looks whether that could be done. For each key, `ARGV` has the greatest count and
/// the window; the last word is `count` or `look`. Replies with the place of the key that refuses, or 0; then for each key its count
/// before, and for how long it stands.
const COUNT: &str = "
local refused = 0
local reply = {}
for place, key in ipairs(KEYS) do
  local count = tonumber(redis.call('GET', key) or '0')
  if refused == 0 and count + ARGV[1] > tonumber(ARGV[2 * place]) then refused = place end
  reply[2 * place] = count
  reply[2 * place + 1] = math.max(redis.call('TTL', key), 0)
end
for place, key in ipairs(KEYS) do
  if ARGV[#ARGV] == 'count' and refused == 0 and redis.call('INCRBY', key, ARGV[1]) == tonumber(ARGV[1]) then
    redis.call('EXPIRE', key, ARGV[2 * place + 1])
  end
end
reply[1] = refused
return reply";

impl RedisCounters {
    pub fn new(connection: Connection) -> Self {
        Self(Mutex::new(connection))
    }

    /// One run of [`COUNT`]; the counters then know what is left.
    fn ask<'a>(&self, counters: impl IntoIterator<Item = &'a mut Counter>, delta: u64, how: &str) -> Authorization {
        let mut counters: Vec<&mut Counter> = counters.into_iter().collect();
        let mut command = vec!["EVAL".to_owned(), COUNT.to_owned(), counters.len().to_string()];
        command.extend(counters.iter().map(|counter| key(counter)));
        command.push(delta.to_string());
        command.extend(counters.iter().flat_map(|c| [c.max_value().to_string(), c.window().as_secs().to_string()]));
        command.push(how.to_owned());
        let reply = self.run(&command);
        for (counter, said) in counters.iter_mut().zip(reply[1..].chunks(2)) {
            counter.set_remaining(counter.max_value().saturating_sub(said[0].try_into().unwrap()));
            counter.set_expires_in(Duration::from_secs(said[1].try_into().unwrap()));
        }
        if reply[0] == 0 { Authorization::Ok } else { Authorization::Limited(None) }
    }

    fn run(&self, command: &[String]) -> Vec<i64> {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        self.0.lock().unwrap().numbers(&words).unwrap()
    }

    /// The counters of these limits that have counted something, without what they know of themselves.
    fn counters_of(&self, limits: &HashSet<Arc<Limit>>) -> Vec<Counter> {
        let keys = self.0.lock().unwrap().texts(&["KEYS", "*"]).unwrap();
        let mut counters: Vec<Counter> = keys.iter().map(|key| serde_json::from_str(key).unwrap()).collect();
        // A key names its limit, and not how much that admits.
        counters.retain_mut(|counter| {
            let limit = limits.get(counter.limit());
            limit.is_some_and(|limit| counter.update_to_limit(Arc::clone(limit)))
        });
        counters
    }
}

/// The counter's limit and variables, as Limitador writes them: a counter can be read from it.
fn key(counter: &Counter) -> String {
    let members = json!({"limit": counter.limit(), "set_variables": counter.set_variables()});
    members.to_string()
}

impl CounterStorage for RedisCounters {
    fn check_and_update(&self, counters: &mut Vec<Counter>, delta: u64) -> Result<Authorization, StorageErr> {
        Ok(self.ask(counters, delta, "count"))
    }

    fn add_counter(&self, _: &Limit) -> Result<(), StorageErr> {
        Ok(())
    }

    fn is_within_limits(&self, counter: &Counter, delta: u64) -> Result<bool, StorageErr> {
        Ok(matches!(self.ask([&mut counter.clone()], delta, "look"), Authorization::Ok))
    }

    fn update_counter(&self, counter: &Counter, delta: u64) -> Result<(), StorageErr> {
        self.ask([&mut counter.clone()], delta, "count");
        Ok(())
    }

    fn check(&self, counters: &mut Vec<Counter>, delta: u64) -> Result<Authorization, StorageErr> {
        Ok(self.ask(counters, delta, "look"))
    }

    fn get_counters(&self, limits: &HashSet<Arc<Limit>>) -> Result<HashSet<Counter>, StorageErr> {
        let mut counters = self.counters_of(limits);
        self.ask(&mut counters, 0, "look");
        Ok(counters.into_iter().collect())
    }

    fn delete_counters(&self, limits: &HashSet<Arc<Limit>>) -> Result<(), StorageErr> {
        let keys: Vec<String> = self.counters_of(limits).iter().map(key).collect();
        let head = ["EVAL", "for _, key in ipairs(KEYS) do redis.call('DEL', key) end return {}"].map(str::to_owned);
        self.run(&[&head[..], &[keys.len().to_string()], &keys].concat());
        Ok(())
    }

    fn clear(&self) -> Result<(), StorageErr> {
        self.run(&["EVAL", "redis.call('FLUSHDB') return {}", "0"].map(str::to_owned));
        Ok(())
    }
}

#[test]
fn counters_are_listed_and_deleted_by_their_limit() {
    let Some(redis) = start() else { return };
    let counters = || RedisCounters::new(redis.connect().unwrap());
    let limiters = [(), ()].map(|()| {
        let limiter = RateLimiter::new_with_storage(Box::new(counters()));
        assert!(limiter.add_limit(limit("few", 5)) && limiter.add_limit(limit("many", 50)));
        limiter
    });
    let spend = |limiter: &RateLimiter, name: &str, who: &str| {
        let descriptor = Descriptor { entries: vec![(name.to_owned(), who.to_owned())], rate: None };
        let question = Question { domain: DOMAIN.to_owned(), descriptors: vec![descriptor], hits: 1 };
        assert_eq!(count(limiter, &question).code, 1);
    };
    let listed = |limiter: &RateLimiter| {
        let counters = limiter.get_counters(&DOMAIN.into()).unwrap();
        assert!(counters.iter().all(|c| (DAY - 60..=DAY).contains(&c.expires_in().unwrap().as_secs())));
        let mut left: Vec<_> = counters.iter().map(|c| (c.max_value(), c.remaining().unwrap())).collect();
        left.sort_unstable();
        left
    };
    assert_eq!(listed(&limiters[0]), []);
    for (limiter, name, who) in [(0, "few", "alice"), (1, "few", "alice"), (1, "few", "bob"), (1, "many", "bob")] {
        spend(&limiters[limiter], name, who);
    }
    assert_eq!(listed(&limiters[0]), [(5, 3), (5, 4), (50, 49)], "what both have counted");
    limiters[0].delete_limit(&limit("few", 5)).unwrap();
    assert_eq!(listed(&limiters[1]), [(50, 49)], "for the other, too");
    spend(&limiters[1], "few", "alice");
    assert_eq!(listed(&limiters[1]), [(5, 4), (50, 49)]);
    counters().clear().unwrap();
    assert_eq!(listed(&limiters[1]), []);
    limiters[1].delete_limit(&limit("many", 50)).unwrap();
}
