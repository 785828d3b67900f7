//! Which addresses may call: lists of networks, written in the configuration or fetched, and what rules say about them.
//!
//! # Fetched lists
//! One worker fetches a list for all, as key sets and revoked tokens are ([`crate::shared_list`]). Its format is one address
//! or network (`192.0.2.0/24`, `2001:db8::/32`) on each line, where `#` and `;` begin a comment, or a JSON array of such
//! texts. One entry that is none makes the whole document no list: the old one stays, since half a list would let in, or
//! keep out, whom nobody meant. So does an empty document; a list that means to be empty is `[]` or has a comment.
//!
//! # Cost
//! A list is sorted ranges that do not touch, with an index of as many equal parts of their span as there are ranges: a look-up
//! goes to one part and searches the few ranges in it, however many there are in all. (Where a list's ranges crowd in few
//! parts it is a binary search of those: never more than 17 steps for 100,000 networks.) A range takes 12 to 16 bytes (IPv4) or 36
//! to 40 bytes (IPv6) on each worker, and the list as it was fetched stands once in shared data.

mod cidr;
mod feed;
mod list;
mod rules;
mod set;

pub use cidr::{Cidr, CidrError};
pub use feed::{FeedError, parse};
pub use list::{Actions, AddressList, AddressLists, AddressSource, FeedOptions};
pub use rules::{AddressRules, Refusal};
pub use set::{AddressSet, Builder};
