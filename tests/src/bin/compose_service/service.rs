//! What the services answer.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use serde_json::{Value, json};

use crate::database::{Database, NewOrder, Trouble};

/// The largest body of a new order, bytes.
const MAX_BODY_BYTES: usize = 16 << 10;

/// A service with what it needs.
pub enum Service {
    /// Orders, kept in PostgreSQL.
    Orders(Box<Database>),
    /// Reports, which say whom they are for.
    Reports,
}

/// Status and document.
type Answer = (u16, Value);

impl Service {
    /// The service `orders` on this database.
    pub fn orders(database: Database) -> Self {
        Self::Orders(Box::new(database))
    }

    /// Answers one request of the gateway.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (name, (status, mut document)) = match self {
            Self::Orders(database) => ("orders", orders(database, request).await),
            Self::Reports => ("reports", report(&request)),
        };
        if let Some(document) = document.as_object_mut() {
            document.insert("service".to_owned(), json!(name));
        }
        let response = Response::builder().status(status).header("content-type", "application/json");
        response.body(Full::new(Bytes::from(format!("{document}\n")))).unwrap_or_default()
    }
}

/// Who asks: the gateway has verified it, and removed what a client wrote there.
fn user<B>(request: &Request<B>) -> String {
    let user = request.headers().get("x-user").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    user.unwrap_or_default()
}

fn report(request: &Request<Incoming>) -> Answer {
    (200, json!({"user": user(request), "path": request.uri().path()}))
}

async fn orders(database: &Database, request: Request<Incoming>) -> Answer {
    let user = user(&request);
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let id = path.strip_prefix("/orders/").map(str::parse::<i64>);
    let found = match (request.method(), id) {
        (&Method::GET, None) if path == "/orders" => database.newest().await,
        (&Method::GET, Some(Ok(id))) => database.order(id).await,
        (&Method::POST, None) if path == "/orders" => match new_order(request, &user).await {
            Ok(order) => database.insert(&order).await,
            Err(answer) => return answer,
        },
        _ => return (404, json!({"error": "no such thing"})),
    };
    match found {
        Ok(Some(found)) => (200, json!({"user": user, "found": found})),
        Ok(None) => (404, json!({"user": user, "error": "no such order"})),
        // Why, is in the log; a client learns that it may come back.
        Err(Trouble) => (503, json!({"error": "the database cannot be reached"})),
    }
}

async fn new_order(request: Request<Incoming>, owner: &str) -> Result<NewOrder, Answer> {
    let refuse = |error: &str| (400, json!({"error": error}));
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await;
    let body = body.map_err(|_| (413, json!({"error": "the order is too large"})))?.to_bytes();
    let order: Value = serde_json::from_slice(&body).map_err(|_| refuse("an order is JSON"))?;
    let item = order.get("item").and_then(Value::as_str).filter(|item| (1..=100).contains(&item.len()));
    let quantity = order.get("quantity").and_then(Value::as_i64).and_then(|quantity| i32::try_from(quantity).ok());
    let quantity = quantity.filter(|quantity| (1..=10_000).contains(quantity));
    let (Some(item), Some(quantity)) = (item, quantity) else {
        return Err(refuse("an order has an item and a quantity of 1 to 10000"));
    };
    Ok(NewOrder { owner: owner.to_owned(), item: item.to_owned(), quantity })
}
