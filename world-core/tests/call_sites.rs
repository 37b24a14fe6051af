//! The library as its users write it: every call site of the design that exists so far.

use std::{sync::Arc, time::Duration};

use futures::{
    StreamExt,
    future::{join, join_all},
    stream::FuturesUnordered,
};
use serde::{Deserialize, Serialize};
use world_core::{
    Attempt, Ctx, Engine, Fatal, MemoryWorld, Retry, StepError, Timestamp, Workflow, frozen,
    seal::Key,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct User {
    name: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Item {
    sku: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    id: String,
    items: Vec<Item>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Receipt {
    order: String,
    cents: u64,
    sent: Vec<u64>,
    at: Timestamp,
    number: uuid::Uuid,
}

#[derive(Debug, Serialize, Deserialize)]
struct Rates {
    base: u64,
    names: Vec<String>,
}
frozen!(Rates { base, names });

/// A service whose client is borrowed by the bodies and is neither `Clone` nor `'static`.
struct Bank {
    fee: u64,
}

#[derive(Debug)]
struct Declined;

impl std::fmt::Display for Declined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("declined")
    }
}

impl std::error::Error for Declined {}

impl Bank {
    async fn order(&self, user: &User) -> Result<Order, std::io::Error> {
        let items = ["tea", "cup"].map(|sku| Item { sku: sku.into() });
        Ok(Order { id: format!("{}-1", user.name), items: items.into() })
    }
    async fn charge(&self, order: &Order) -> Result<u64, Declined> {
        if order.items.is_empty() { Err(Declined) } else { Ok(100 + self.fee) }
    }
    async fn ship(&self, _order: &Order, key: String) -> Result<String, &'static str> {
        if key.len() == 32 { Ok(key) } else { Err("a key of another length") }
    }
    async fn pick(&self, item: &Item) -> anyhow::Result<u64> {
        Ok(item.sku.len() as u64)
    }
    async fn rates(&self) -> anyhow::Result<Rates> {
        Ok(Rates { base: self.fee, names: vec!["eur".into()] })
    }
}

/// A part of a workflow is a plain function that borrows the context.
async fn greet(ctx: &mut Ctx, name: &str) -> Result<String, StepError> {
    ctx.step("greet", async || Ok::<_, StepError>(format!("Hello, {name}"))).await
}

async fn onboard(mut ctx: Ctx, user: User) -> anyhow::Result<Receipt> {
    let bank = Bank { fee: 5 };
    let order = ctx.step("order", async || bank.order(&user).await).await?;
    let charge = ctx
        .step("charge", async || bank.charge(&order).await)
        .retry(Retry::exponential(5).max_delay(MINUTE))
        .retry_if(|_: &Declined| true)
        .timeout(SECOND * 10)
        .deadline(MINUTE)
        .await?;
    let card = ctx
        .step_with("ship", async |at: Attempt| bank.ship(&order, at.idempotency_key()).await)
        .at_most_once()
        .await?;
    assert_eq!(card.len(), 32);
    assert_eq!(greet(&mut ctx, &user.name).await?, "Hello, ada");

    let mut slow = ctx.step("slow", async || std::future::pending::<anyhow::Result<u64>>().await);
    let first = tokio::select! { biased;
        slow = &mut slow => slow?,
        slept = ctx.sleep(Duration::from_millis(20)) => { slept?; 0 }
    };
    drop(slow);
    assert_eq!(first, 0);

    let sent = join_all(order.items.iter().map(|item| {
        let (mut branch, bank) = (ctx.branch(&item.sku), &bank);
        async move {
            branch.step("pick", async || bank.pick(item).await).await?;
            branch.step("pack", async || bank.pick(item).await).await
        }
    }))
    .await
    .into_iter()
    .collect::<Result<Vec<_>, _>>()?;

    let (mut left, mut right) = (ctx.branch("left"), ctx.branch("right"));
    let (l, r) =
        join(async { left.step("pick", async || bank.pick(&order.items[0]).await).await }, async {
            right.step("pick", async || bank.pick(&order.items[1]).await).await
        })
        .await;
    assert_eq!((l?, r?), (3, 3));

    let mut any: FuturesUnordered<_> =
        order.items.iter().map(|item| ctx.step("any", async || bank.pick(item).await)).collect();
    while let Some(picked) = any.next().await {
        assert_eq!(picked?, 3);
    }

    let rates: Arc<Rates> = ctx.step("rates", async || bank.rates().await).shared().await?;
    let failed = ctx
        .step("fatal", async || Err::<u64, _>(anyhow::Error::from(Fatal::new(Declined))))
        .retry(Retry::exponential(9))
        .await;
    assert!(matches!(failed, Err(StepError::Failed { attempts: 1, .. })));
    let cents = charge + rates.base;
    Ok(Receipt { order: order.id, cents, sent, at: ctx.now(), number: ctx.uuid() })
}

/// The declaration is all that a client needs.
const ONBOARD: Workflow<User, Receipt> = Workflow::new("onboard").version(2);

#[tokio::test]
async fn every_call_site_of_the_design_runs() {
    let engine = Engine::builder(MemoryWorld::new())
        .key(Key::generate())
        .workflow(ONBOARD, onboard)
        .build()
        .unwrap();
    let worker = engine.spawn_worker();
    let user = User { name: "ada".into() };
    let run = engine.client().start(ONBOARD, user.clone()).id("onboard-ada").await.unwrap();
    let again = engine.client().start(ONBOARD, user).id("onboard-ada").await.unwrap();
    let receipt = run.output().await.unwrap();
    assert_eq!((receipt.cents, &*receipt.sent), (110, &[3, 3][..]));
    assert_eq!(again.output().await.unwrap(), receipt);
    worker.shutdown().await;
}
