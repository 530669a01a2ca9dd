//! soproxy: an authenticating reverse proxy for SuperOffice CRM Online.

pub mod admin;
pub mod app;
pub mod body;
pub mod clock;
pub mod config;
pub mod log;
pub mod proxy;
pub mod reload;
pub mod server;
pub mod shutdown;
pub mod sandbox;
pub mod superoffice;
pub mod ticket;
pub mod upstream;
