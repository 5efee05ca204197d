//! Images by URL: which URLs a server fetches, and from which addresses. A client
//! chooses the URL, so each step is checked: the text of the URL ([`rules`]), the
//! addresses of its host ([`address`]), and the same again for each redirect
//! ([`fetcher`]).

pub mod address;
pub mod error;
pub mod fetcher;
mod http1;
pub mod network;
pub mod rules;
