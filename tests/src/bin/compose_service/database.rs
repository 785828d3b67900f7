//! The orders in PostgreSQL, over a connection on which both sides show a certificate: there is no password.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use portcullis_tests::pki::Pki;
use portcullis_tests::tls;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config};

use crate::encrypted::Connector;

/// How long connecting, and then a statement, may take: less than the gateway waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
const PORT: u16 = 5432;

/// The database, connected when it is first needed and again when the connection was lost.
pub struct Database {
    host: String,
    keys: PathBuf,
    client: Mutex<Option<Arc<Client>>>,
}

/// An order to be.
pub struct NewOrder {
    /// Who orders: the verified identity.
    pub owner: String,
    /// What.
    pub item: String,
    /// How many.
    pub quantity: i32,
}

/// The database did not answer as it should. The log says why.
pub struct Trouble;

impl Database {
    /// The database on `host`, with the certificates of `keys`.
    pub fn new(host: String, keys: PathBuf) -> Self {
        Self { host, keys, client: Mutex::new(None) }
    }

    /// The order with this number.
    pub async fn order(&self, id: i64) -> Result<Option<Value>, Trouble> {
        self.query("select row_to_json(o)::text from orders o where id = $1", &[&id]).await
    }

    /// The newest orders.
    pub async fn newest(&self) -> Result<Option<Value>, Trouble> {
        let newest = "select coalesce(json_agg(o), '[]')::text from (select * from orders order by id desc limit 20) o";
        self.query(newest, &[]).await
    }

    /// Adds an order, and gives it with its number.
    pub async fn insert(&self, order: &NewOrder) -> Result<Option<Value>, Trouble> {
        let insert =
            "insert into orders (owner, item, quantity) values ($1, $2, $3) returning row_to_json(orders)::text";
        self.query(insert, &[&order.owner, &order.item, &order.quantity]).await
    }

    /// The first row of a statement that gives one text column of JSON.
    async fn query(&self, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Option<Value>, Trouble> {
        let attempt = async {
            let client = self.client().await?;
            let row = client.query_opt(statement, parameters).await?;
            let text: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
            anyhow::Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
        };
        let result = match tokio::time::timeout(PATIENCE, attempt).await {
            Ok(result) => result,
            Err(_) => Err(anyhow!("no answer within {PATIENCE:?}")),
        };
        result.map_err(|error| {
            let _ = writeln!(std::io::stderr(), "database: {error:#}");
            Trouble
        })
    }

    async fn client(&self) -> Result<Arc<Client>> {
        let mut kept = self.client.lock().await;
        if let Some(client) = kept.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(self.connect().await?);
        *kept = Some(Arc::clone(&client));
        Ok(client)
    }

    async fn connect(&self) -> Result<Client> {
        let tls = tls::client(&Pki::at(&self.keys.join("current")), Some("orders-db"), &[])?;
        let connector = Connector::new(tls, ServerName::try_from(format!("{}.demo", self.host))?);
        let socket = TcpStream::connect((self.host.as_str(), PORT)).await.context("cannot connect")?;
        socket.set_nodelay(true)?;
        let mut config = Config::new();
        config.user("orders").dbname("orders").application_name("orders").ssl_mode(SslMode::Require);
        let (client, connection) = config.connect_raw(socket, connector).await?;
        // It ends with the last handle on the client, or when the database goes away.
        tokio::spawn(connection);
        Ok(client)
    }
}
