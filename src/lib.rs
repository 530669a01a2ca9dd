//! soproxy: an authenticating reverse proxy for SuperOffice CRM Online.

pub mod clock;
pub mod config;
pub mod sandbox;
pub mod superoffice;
pub mod ticket;
