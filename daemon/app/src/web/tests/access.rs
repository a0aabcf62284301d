//! Who may come in, and how: passwords, other sites, headers, TLS, addresses.

use super::*;

#[test]
fn the_first_password_opens_a_closed_address() {
    let server = Server::start(CLOSED);
    let session = || server.get("/api/v1/session").json();
    assert_eq!(
        session(),
        json!({"needed": true, "set_up": false, "signed_in": false})
    );
    server
        .post("/api/v1/session", &json!({"password": "whatever it is"}))
        .problem(409);
    let short = server.post("/api/v1/session/setup", &json!({"password": "short"}));
    assert_eq!(short.problem(422)["field"], "password");
    let set = server.post("/api/v1/session/setup", &json!({"password": "correct horse"}));
    assert_eq!(set.status, 204);
    let cookie = set.header("set-cookie").to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    server
        .post("/api/v1/session/setup", &json!({"password": "another horse"}))
        .problem(409);
    server
        .post("/api/v1/session", &json!({"password": "wrong horse!"}))
        .problem(403);

    let cookie = cookie.split(';').next().unwrap().to_owned();
    let with = |method: &str, path: &str| server.ask(method, path, &[("cookie", &cookie)], None);
    assert_eq!(with("GET", "/api/v1/status").status, 200);
    assert_eq!(with("GET", "/api/v1/session").json()["signed_in"], true);
    let out = with("DELETE", "/api/v1/session");
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    with("GET", "/api/v1/status").problem(401);
}

#[test]
fn every_route_but_the_session_is_closed() {
    let server = Server::start(CLOSED);
    let api = serde_json::to_value(openapi_document()).unwrap();
    let mut closed = 0;
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let path = path.replace("{id}", "00000000-0000-0000-0000-000000000001");
            let path = path.replace("{file}", "a.flv");
            let body = operation.get("requestBody").map(|_| "{}");
            let answer = server.ask(
                &method.to_uppercase(),
                &path,
                &[("cookie", "synoptic=guess")],
                body,
            );
            if path.starts_with("/api/v1/session") {
                assert_ne!(answer.status, 401, "{method} {path}");
            } else {
                answer.problem(401);
                closed += 1;
            }
        }
    }
    assert!(closed >= 13, "{closed}");
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn guessing_passwords_is_slowed_down() {
    let server = Server::start(CLOSED);
    let sign_in = |password: &str| server.post("/api/v1/session", &json!({"password": password}));
    server.post("/api/v1/session/setup", &json!({"password": "correct horse"}));
    for _ in 0..5 {
        sign_in("wrong horse!").problem(403);
    }
    let refused = sign_in("correct horse");
    assert_eq!(refused.problem(429)["retry_after_s"], 20);
    assert_eq!(refused.header("retry-after"), "20");
    server.clock.advance(Span::from_secs(20));
    assert_eq!(sign_in("correct horse").status, 204);
}

#[test]
fn the_password_is_changed_by_who_knows_it_and_others_are_signed_out() {
    let server = Server::start(CLOSED);
    let cookie = |answer: &Answer| answer.header("set-cookie").split(';').next().unwrap().to_owned();
    let mine = cookie(&server.post("/api/v1/session/setup", &json!({"password": "correct horse"})));
    let other = cookie(&server.post("/api/v1/session", &json!({"password": "correct horse"})));
    let change = |session: &str, body: Value| {
        let headers = [("cookie", session)];
        server.ask("POST", "/api/v1/password", &headers, Some(&body.to_string()))
    };
    let good = json!({"old": "correct horse", "new": "another horse"});
    change("synoptic=guess", good.clone()).problem(401);
    change(&mine, json!({"old": "wrong horse!", "new": "another horse"})).problem(403);
    let short = change(&mine, json!({"old": "correct horse", "new": "short"}));
    assert_eq!(short.problem(422)["field"], "new");
    let changed = change(&mine, good);
    assert_eq!(changed.status, 204);
    let status = |session: &str| {
        server
            .ask("GET", "/api/v1/status", &[("cookie", session)], None)
            .status
    };
    assert_eq!(
        (status(&mine), status(&other), status(&cookie(&changed))),
        (401, 401, 200)
    );
    server
        .post("/api/v1/session", &json!({"password": "correct horse"}))
        .problem(403);
    let again = server.post("/api/v1/session", &json!({"password": "another horse"}));
    assert_eq!(again.status, 204);
}

#[test]
fn the_metrics_token_opens_the_metrics_and_nothing_else() {
    let server = Server::start(CLOSED);
    let ask = |path: &str, header: &str| server.ask("GET", path, &[("authorization", header)], None);
    let right = format!("Bearer {METRICS_TOKEN}");
    let page = ask("/metrics", &right);
    assert_eq!(page.status, 200);
    assert!(page.text().contains("synoptic_storage_state{state=\"okay\"} 1"));
    assert_eq!(ask("/metrics", &right.replace("Bearer", "bearer")).status, 200);
    for wrong in [
        "Bearer ",
        "Bearer guess",
        METRICS_TOKEN,
        &format!("Basic {METRICS_TOKEN}"),
    ] {
        ask("/metrics", wrong).problem(401);
    }
    ask("/api/v1/status", &right).problem(401);
    ask("/api/v1/cameras", &right).problem(401);
}

#[test]
fn other_sites_are_refused() {
    let server = Server::start(OPEN);
    let ask = |method: &str, name: &str, value: &str| {
        server
            .ask(method, "/api/v1/cameras/a", &[(name, value)], None)
            .status
    };
    assert_eq!(ask("DELETE", "origin", "http://evil.example"), 403);
    assert_eq!(ask("DELETE", "origin", server.url("").as_str()), 404);
    assert_eq!(ask("DELETE", "host", "evil.example"), 421);
    assert_eq!(
        server
            .ask("GET", "/api/v1/status", &[("host", "evil.example")], None)
            .status,
        421
    );
}

#[test]
fn the_page_has_security_headers() {
    let server = Server::start(OPEN);
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    if !page.header("etag").is_empty() {
        let tag = [("if-none-match", page.header("etag"))];
        assert_eq!(server.ask("GET", "/", &tag, None).status, 304);
    }
}

#[test]
fn other_addresses_speak_tls_only() {
    let server = Server::start(TLS);
    assert!(server.url("/").starts_with("https://"));
    server.get("/api/v1/status").problem(401);
    let set = server.post("/api/v1/session/setup", &json!({"password": "correct horse"}));
    let cookie = set.header("set-cookie");
    assert!(
        cookie.starts_with("__Host-synoptic=") && cookie.contains("Secure"),
        "{cookie}"
    );
    let cookie = [("cookie", cookie.split(';').next().unwrap())];
    assert_eq!(server.ask("GET", "/api/v1/status", &cookie, None).status, 200);
    let plain = format!("http://{}/", server.bound.listening[0].address);
    assert!(client(&server.dir, OPEN).get(plain).call().is_err());
}

#[test]
fn an_address_in_use_is_named() {
    let server = Server::start(OPEN);
    let at = server.bound.listening[0].address;
    let (_, shutdown) = watch::channel(());
    let clock = ManualClock::shared();
    let parts = Parts {
        hub: server.hub.clone(),
        clock: clock.clone(),
        clock_map: Arc::new(map),
        events: server.events.clone(),
        cameras: server.admin.clone(),
        panoramas: Arc::new(crate::panorama::Desk::new(server.dir.path())),
        virtual_cameras: Arc::new(crate::virtual_camera::Desk::default()),
        stitch: Arc::new(NoStitching),
        outputs: Arc::new(Outputs::default()),
        commands: Arc::new(NoCommands),
        updates: update::updates(&server.runtime, server.dir.path(), "unix:path=/nowhere/at/all"),
        health: HealthDesk::nowhere(&server.hub, &(clock.clone() as Arc<dyn Clock>), server.dir.path()),
        auth: Arc::new(Auth::open(server.dir.path(), clock).unwrap()),
        encode_jpeg: encode,
        metrics_token: None,
    };
    let config = WebConfig {
        listen: vec![at],
        tls: None,
        metrics_token: None,
        ice: IceServers::default(),
    };
    let failed = server
        .runtime
        .block_on(serve(&config, server.dir.path(), parts, shutdown));
    assert!(failed.err().unwrap().to_string().contains(&at.to_string()));
}
