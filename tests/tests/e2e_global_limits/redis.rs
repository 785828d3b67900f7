//! Limitador's counters on a real Redis, so that two of it count together.
//!
//! The crate has a storage for Redis, which does not compile without its storage on disk, and so without RocksDB. This one keeps to
//! the trait that it offers for others; the counting and the check are one script, so that they are one step for all.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use limitador::counter::Counter;
use limitador::limit::Limit;
use limitador::storage::{Authorization, CounterStorage, StorageErr};
use portcullis_tests::redis::Connection;

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
        let key = |counter: &&mut Counter| format!("{}:{:?}", counter.namespace().as_ref(), counter.set_variables());
        let mut command = vec!["EVAL".to_owned(), COUNT.to_owned(), counters.len().to_string()];
        command.extend(counters.iter().map(key));
        command.push(delta.to_string());
        command.extend(counters.iter().flat_map(|c| [c.max_value().to_string(), c.window().as_secs().to_string()]));
        command.push(how.to_owned());
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let reply = self.0.lock().unwrap().numbers(&words).unwrap();
        for (counter, said) in counters.iter_mut().zip(reply[1..].chunks(2)) {
            counter.set_remaining(counter.max_value().saturating_sub(said[0].try_into().unwrap()));
            counter.set_expires_in(Duration::from_secs(said[1].try_into().unwrap()));
        }
        if reply[0] == 0 { Authorization::Ok } else { Authorization::Limited(None) }
    }
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

    fn get_counters(&self, _: &HashSet<Arc<Limit>>) -> Result<HashSet<Counter>, StorageErr> {
        unimplemented!("nobody lists them")
    }

    fn delete_counters(&self, _: &HashSet<Arc<Limit>>) -> Result<(), StorageErr> {
        unimplemented!("no limit goes away")
    }

    fn clear(&self) -> Result<(), StorageErr> {
        unimplemented!("no limit goes away")
    }
}
