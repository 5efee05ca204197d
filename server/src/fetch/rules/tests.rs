//! Which entries and which URLs are accepted, without a network.

use super::*;

fn list(text: &str) -> AllowList {
    AllowList::parse(text).unwrap()
}

#[test]
fn entries_are_hosts_domains_and_prefixes() {
    for bad in [
        "",
        "a,",
        "ftp://a.example/",
        "a.example/photos/",
        "https://a.example/photos",
        "https://a.example/?x",
        "https://user@a.example/",
        "*.127.0.0.1",
        "a.*.example",
        "*x.example",
        "https://",
        "https://a.example:99999/",
    ] {
        assert!(AllowList::parse(bad).is_err(), "{bad}");
    }
    let list = list(
        "a.example, *.b.example, https://c.example/photos/, http://d.example:8080, e.example:8443",
    );
    for (url, allowed) in [
        ("https://a.example/x?y=1#z", true),
        ("https://A.EXAMPLE:443/x", true),
        ("http://a.example/x", false),
        ("https://a.example:8443/x", false),
        ("https://a.example./x", false),
        ("https://x.a.example/", false),
        ("https://x.b.example/", true),
        ("https://x.y.b.example/", true),
        ("https://b.example/", false),
        ("https://.b.example/", false),
        ("https://evilb.example/", false),
        ("https://b.example.evil.example/", false),
        ("https://c.example/photos/x/y", true),
        ("https://c.example/photos", false),
        ("https://c.example/photosx/y", false),
        ("http://d.example:8080/", true),
        ("https://d.example:8080/", false),
        ("http://d.example/", false),
        ("https://e.example:8443/", true),
        ("https://e.example/", false),
    ] {
        assert_eq!(list.parse_url(url).is_ok(), allowed, "{url}");
    }
}

#[test]
fn a_path_cannot_leave_its_prefix() {
    let list = list("https://c.example/photos/");
    for url in [
        "https://c.example/photos/../secret",
        "https://c.example/photos/%2e%2e/secret",
        "https://c.example/photos/%2E./secret",
        "https://c.example/photos/..\\secret",
        "https://c.example/photos\\..\\secret",
        "https://c.example/photos/..%2fsecret",
        "https://c.example/photos/..%5Csecret",
        "https://c.example/photos/%252e%252e/secret",
        "https://c.example/photos/..;/secret",
        "https://c.example//photos/x",
        "https://c.example/%70hotos/x",
    ] {
        assert_eq!(list.parse_url(url), Err(Refusal::NotListed), "{url}");
    }
    assert!(list.parse_url("https://c.example/photos/a/../b").is_ok());
}

#[test]
fn a_star_allows_hosts_but_no_other_scheme_port_or_user() {
    let all = list("*");
    assert!(all.parse_url("https://any.example/").is_ok());
    for (url, refusal) in [
        ("http://any.example/", Refusal::NotListed),
        ("https://any.example:22/", Refusal::NotListed),
        ("https://user@any.example/", Refusal::UserInfo),
        ("https://:password@any.example/", Refusal::UserInfo),
        ("https://a.example@evil.example/", Refusal::UserInfo),
        ("ftp://any.example/", Refusal::Scheme),
        ("file:///etc/passwd", Refusal::Scheme),
        ("gopher://any.example/", Refusal::Scheme),
        ("data:image/png;base64,AAAA", Refusal::Scheme),
        ("any.example/cat.jpg", Refusal::Invalid),
        ("//any.example/cat.jpg", Refusal::Invalid),
        ("https://[::1/", Refusal::Invalid),
        ("https://1.2.3.256/", Refusal::Invalid),
        ("https://any%00.example/", Refusal::Invalid),
        ("", Refusal::Invalid),
    ] {
        assert_eq!(all.parse_url(url), Err(refusal), "{url}");
    }
    let long = format!("https://any.example/{}", "x".repeat(LONGEST_URL));
    assert_eq!(all.parse_url(&long), Err(Refusal::TooLong));
}

#[test]
fn private_hosts_are_named_one_by_one() {
    let hosts = PrivateHosts::parse("images.internal, 10.0.0.5, [fd12::1]").unwrap();
    for (url, contained) in [
        ("https://images.internal/", true),
        ("https://IMAGES.internal/", true),
        ("https://x.images.internal/", false),
        ("https://10.0.0.5/", true),
        ("https://0xa000005/", true),
        ("https://[fd12::1]/", true),
        ("https://10.0.0.6/", false),
    ] {
        let url = Url::parse(url).unwrap();
        assert_eq!(hosts.contain(&url.host().unwrap()), contained, "{url}");
    }
    for bad in ["", "*", "*.internal", "a,,b", "https://a/"] {
        assert!(PrivateHosts::parse(bad).is_err(), "{bad}");
    }
}
