//! URLs that try to reach what is not on the Internet, by their text, by the addresses
//! of their host, by addresses that change, and by redirects.

use super::web::{Fetching, PUBLIC, Web, image, redirect, rules};
use crate::support::server::server;

/// URLs whose text is refused, whatever the list of hosts.
const REFUSED: [&str; 15] = [
    "file:///etc/passwd",
    "ftp://public.example/cat.png",
    "gopher://public.example:70/_x",
    "data:image/png;base64,iVBORw0KGgo=",
    "unix:/run/docker.sock",
    "http+unix://%2frun%2fdocker.sock/images",
    "https://user@public.example/cat.png",
    "https://user:password@public.example/cat.png",
    "https://public.example@169.254.169.254/cat.png",
    "http://public.example:22/",
    "https://public.example:6379/",
    "https://127.0.0.1:8001/models",
    "//127.0.0.1/cat.png",
    "http://[::1",
    "http://1.2.3.4.5.256/",
];

/// URLs whose host has no address that may be connected to.
const UNREACHABLE: [&str; 32] = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://017700000001/",
    "http://0177.0.0.01/",
    "http://127.0.0.1./",
    "http://%31%32%37.0.0.1/",
    "http://127。0。0。1/",
    "http://①②⑦.0.0.1/",
    "http://0/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://172.16.5.4/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://0xa9fea9fe/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1]/",
    "http://[ff02::1]/",
    "http://[::]/",
    "http://localhost/",
    "https://metadata.example/",
    "https://mixed.example/",
];

#[tokio::test]
async fn urls_that_lead_into_the_network_of_the_server_are_never_connected_to() {
    let web = Web::start(|_| image(7)).await;
    web.name("localhost", &[&["127.0.0.1", "::1"]]);
    web.name("metadata.example", &[&["169.254.169.254"]]);
    web.name(
        "mixed.example",
        &[&["10.0.0.1", "::ffff:10.0.0.1", "fd00:ec2::254", "0.0.0.0"]],
    );
    let fetching = Fetching::new(server().await, &web, rules("*, http://*"));
    for url in REFUSED {
        fetching.url(url).await.assert_problem(400, "url-refused");
    }
    // the same words as for an address where nothing listens
    let closed = Fetching::new(server().await, &Web::empty(), rules("*"));
    let closed = closed.url("https://public.example/").await;
    for url in UNREACHABLE {
        let response = fetching.url(url).await;
        response.assert_problem(422, "url-not-fetched");
        assert_eq!(response.detail(), closed.detail(), "{url}");
        assert_eq!(web.connected(), [""; 0], "{url}");
    }
    assert_eq!(fetching.url("http://public.example/").await.class(), 7);
}

#[tokio::test]
async fn an_address_that_changes_after_the_check_is_checked_again() {
    let web = Web::start(|path| match path {
        "/again" => redirect("/cat.png"),
        _ => image(7),
    })
    .await;
    for name in ["once.example", "twice.example"] {
        web.name(name, &[&[PUBLIC], &["127.0.0.1"]]);
    }
    let fetching = Fetching::new(server().await, &web, rules("http://*"));
    // one connection, one resolution
    assert_eq!(fetching.url("http://once.example/cat.png").await.class(), 7);
    assert_eq!(web.resolved(), ["once.example"]);
    // the redirect resolves the name again, and now it is the loopback
    let response = fetching.url("http://twice.example/again").await;
    response.assert_problem(422, "url-not-fetched");
    assert_eq!(
        web.connected(),
        [format!("{PUBLIC}:80"), format!("{PUBLIC}:80")]
    );
}

#[tokio::test]
async fn each_redirect_is_checked_and_their_number_is_limited() {
    let web = Web::start(|path| match path.rsplit_once('/').unwrap() {
        ("/chain", "0") => image(7),
        ("/chain", n) => redirect(&format!("{}", n.parse::<u32>().unwrap() - 1)),
        ("/to", "user") => redirect("http://a@a.example/"),
        ("/to", "file") => redirect("file:///etc/passwd"),
        ("/to", "port") => redirect("http://a.example:22/"),
        ("/to", "host") => redirect("http://b.example/"),
        ("/to", "metadata") => redirect("http://169.254.169.254/"),
        ("/to", "allowed") => redirect("http://169.254.170.2/"),
        ("/to", "https") => redirect("https://a.example/"),
        ("/to", "nothing") => redirect("http://["),
        _ => redirect("/chain/0"),
    })
    .await;
    let list = "http://a.example, http://169.254.170.2";
    let fetching = Fetching::new(server().await, &web, rules(list));
    assert_eq!(fetching.url("http://a.example/chain/3").await.class(), 7);
    assert_eq!(fetching.url("http://a.example/absolute/").await.class(), 7);
    let many = fetching.url("http://a.example/chain/4").await;
    many.assert_problem(422, "url-not-fetched");
    assert!(many.detail().contains("more than 3 times"), "{}", many.text);
    for to in [
        "user", "file", "port", "host", "metadata", "https", "nothing",
    ] {
        let response = fetching.url(&format!("http://a.example/to/{to}")).await;
        response.assert_problem(422, "url-not-fetched");
        assert!(
            response.detail().contains("not allowed"),
            "{to}: {}",
            response.text
        );
    }
    // listed, but an address that is never connected to
    let response = fetching.url("http://a.example/to/allowed").await;
    response.assert_problem(422, "url-not-fetched");
    let elsewhere = |address: &&String| **address != format!("{PUBLIC}:80");
    assert_eq!(web.connected().iter().find(elsewhere), None);
}
