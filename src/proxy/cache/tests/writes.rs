//! What writes do to what is stored and to what is being fetched.

use super::*;

const ITEM: &str = "/api/v1/List/Category/Items/3";

impl World {
    fn writes(&self, status: Option<u16>) -> usize {
        self.cache.written("cust1", &Method::PUT, ITEM, None, status.map(|status| StatusCode::from_u16(status).unwrap()))
    }

    async fn filled() -> World {
        let world = World::new();
        world.fetch(&[], good("[1]")).await;
        world
    }

    async fn is_stored(&self) -> bool {
        match self.ask(&[]).await {
            Found::Answer(_) => true,
            Found::Lead(lead) => {
                lead.failed();
                false
            }
            Found::Pass(pass) => panic!("{pass:?}"),
        }
    }
}

#[tokio::test]
async fn a_write_drops_the_tenants_collection_whoever_asked_for_it() {
    let world = World::filled().await;
    let german = request(Method::GET, &[("so-language", "de")]);
    for (tenant, target) in [("cust1", PATH), ("cust1", "/api/v1/MDOList/category"), ("cust2", PATH)] {
        let Found::Lead(lead) = world.ask_for(tenant, target, &german).await else { panic!("{target}") };
        _ = text(lead.answered(good("[2]"), world.clock.now())).await;
        settled().await;
    }
    assert_eq!(world.cache.size().0, 4);
    assert_eq!(world.writes(Some(204)), 3);
    assert!(!world.is_stored().await);
    assert!(matches!(world.ask_for("cust2", PATH, &german).await, Found::Answer(_)));
}

#[tokio::test]
async fn only_what_was_certainly_refused_drops_nothing() {
    for (status, stays) in [
        (Some(200), false),
        (Some(302), false),
        (Some(500), false),
        (Some(503), false),
        (None, false),
        (Some(400), true),
        (Some(412), true),
    ] {
        let world = World::filled().await;
        world.writes(status);
        assert_eq!(world.is_stored().await, stays, "{status:?}");
    }
    let world = World::filled().await;
    for (method, path) in [(Method::POST, "/api/v1/Contact"), (Method::POST, "/api/v1/Agents/List/GetList"), (Method::GET, ITEM)] {
        assert_eq!(world.cache.written("cust1", &method, path, None, Some(StatusCode::OK)), 0, "{method} {path}");
    }
    assert!(world.is_stored().await);
}

#[tokio::test]
async fn what_was_being_fetched_when_a_write_came_is_not_stored() {
    let world = World::new();
    // Before its head is there …
    let lead = world.lead(&[]).await;
    world.writes(Some(200));
    // … and whoever comes after the write does not wait for it.
    let later = world.lead(&[]).await;
    _ = text(lead.answered(good("old"), world.clock.now())).await;
    settled().await;
    assert_eq!(world.cache.size().0, 0);
    _ = text(later.answered(good("new"), world.clock.now())).await;
    settled().await;
    assert_eq!(text(world.hit(&[]).await).await, "new");
    // In the middle of its body, and when it is confirmed.
    let (feeder, body) = fed();
    let answer = world.lead(&[NO_CACHE]).await.answered(response(200, &[NO_CACHE], body), world.clock.now());
    feeder.send(data("ol")).unwrap();
    settled().await;
    world.writes(Some(200));
    feeder.send(data("d")).unwrap();
    drop(feeder);
    assert_eq!(text(answer).await, "old");
    settled().await;
    assert_eq!(world.cache.size().0, 0);
    world.fetch(&[], response(200, &[("etag", "\"a\"")], full("x"))).await;
    let lead = world.lead(&[NO_CACHE]).await;
    world.writes(Some(200));
    let answer = lead.answered(response(304, &[], Body::Empty), world.clock.now());
    assert_eq!(status(&answer), "soproxy; fwd=request; fwd-status=304");
    assert_eq!(world.cache.size().0, 0);
}

#[tokio::test]
async fn those_who_waited_for_what_a_write_made_old_ask_themselves() {
    let world = Arc::new(World::new());
    let lead = world.lead(&[]).await;
    let waiting = tokio::spawn({
        let world = world.clone();
        async move { matches!(world.ask(&[]).await, Found::Pass(_)) }
    });
    settled().await;
    world.writes(Some(200));
    _ = text(lead.answered(good("old"), world.clock.now())).await;
    assert!(waiting.await.unwrap());
}
