//! Files of a workspace over HTTP, while the real agent works in it, and against what an attacker sends.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use reqwest::multipart::{Form, Part};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{Answer, AppBuilder, Client, read, until};

struct Files {
    client: Client,
    id: String,
}

impl Files {
    async fn of(client: Client, user: &str) -> Self {
        let id = client.session(user).await;
        Self { client, id }
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/sessions/{}/files{rest}", self.id)
    }

    async fn get(&self, rest: &str) -> Answer {
        self.client.get(&self.path(rest)).await
    }

    async fn post(&self, rest: &str, body: &Value) -> Answer {
        self.client.post(&self.path(rest), body).await
    }

    async fn raw(&self, method: Method, rest: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Response {
        let mut request = self.client.request(method, &self.path(rest)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn put(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let path = format!("/content?path={path}");
        read(self.raw(Method::PUT, &path, headers, body.into()).await).await
    }

    async fn content(&self, path: &str, headers: &[(&str, &str)]) -> (StatusCode, String, Response) {
        let path = format!("/content?path={path}");
        let mut answer = self.raw(Method::GET, &path, headers, Vec::new()).await;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.unwrap() {
            body.extend_from_slice(&chunk);
        }
        (answer.status(), String::from_utf8(body).unwrap(), answer)
    }

    async fn names(&self, rest: &str) -> Vec<String> {
        let listed = self.get(rest).await.expect(200);
        let entries = listed.body["data"].as_array().unwrap();
        let name = |entry: &Value| entry["path"].as_str().unwrap().to_owned();
        entries.iter().map(name).collect()
    }
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers()[name].to_str().unwrap()
}

fn inodes(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[tokio::test]
async fn what_the_agent_wrote_is_listed_read_changed_and_seen_by_the_agent() {
    let app = AppBuilder::real().start();
    let files = Files::of(app.client(), "alice").await;
    files
        .client
        .answer(
            &files.id,
            "% bash mkdir -p src && echo hello > src/a.txt && ln -s src/a.txt link\n% say done",
        )
        .await;
    assert_eq!(files.names("?depth=2").await, ["link", "src", "src/a.txt"]);
    let stat = files.get("/stat?path=src/a.txt").await.expect(200);
    assert_eq!(stat.body["kind"], "file");
    assert_eq!(stat.body["size_bytes"], 6);
    let link = files.get("/stat?path=link").await.expect(200);
    assert_eq!(link.body["link_target"], "src/a.txt");
    let (status, text, answer) = files.content("link", &[]).await;
    assert_eq!((status.as_u16(), text.as_str()), (200, "hello\n"));
    for (name, value) in [
        ("content-disposition", "attachment; filename=\"link\""),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(header(&answer, name), value);
    }
    let etag = stat.text("etag");
    let written = files
        .put("src/a.txt", &[("if-match", &etag)], "changed")
        .await
        .expect(200);
    assert_ne!(written.text("etag"), etag);
    files
        .put("src/a.txt", &[("if-match", &etag)], "lost")
        .await
        .problem(412, "precondition_failed");
    let answer = files
        .client
        .ask(&files.id, "% bash cat src/a.txt\n% say read")
        .await
        .expect(200);
    assert!(answer.raw.contains("changed"), "{}", answer.raw);
    let hits = files.get("/search?q=CHANGED").await.expect(200);
    assert_eq!(hits.body["data"][0]["path"], "src/a.txt");
    assert_eq!(
        hits.body["data"].as_array().unwrap().len(),
        1,
        "links are not followed"
    );
    // What it made is taken away also when the session is over.
    files
        .client
        .delete(&format!("/api/v1/sessions/{}", files.id))
        .await
        .expect(204);
    assert_eq!(files.content("src/a.txt", &[]).await.1, "changed");
    files
        .put("src/a.txt", &[], "x")
        .await
        .problem(410, "session_closed");
}

#[tokio::test]
async fn a_file_is_read_in_parts_and_only_when_it_is_another() {
    let app = AppBuilder::fake().start();
    let files = Files::of(app.client(), "alice").await;
    let made = files
        .put("a%20b.txt", &[("if-none-match", "*")], "0123456789")
        .await
        .expect(201);
    let etag = made.text("etag");
    assert_eq!(made.header("etag"), etag);
    for (range, status, text, told) in [
        ("bytes=2-4", 206, "234", "bytes 2-4/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=5-99", 206, "56789", "bytes 5-9/10"),
        ("bytes=0-1,4-5", 200, "0123456789", ""),
        ("lines=1-2", 200, "0123456789", ""),
    ] {
        let (got, body, answer) = files.content("a%20b.txt", &[("range", range)]).await;
        assert_eq!((got.as_u16(), body.as_str()), (status, text), "{range}");
        let content_range = answer
            .headers()
            .get("content-range")
            .map_or("", |value| value.to_str().unwrap());
        assert_eq!(content_range, told, "{range}");
    }
    let (status, body, answer) = files.content("a%20b.txt", &[("range", "bytes=10-")]).await;
    assert_eq!(status.as_u16(), 416, "{body}");
    assert_eq!(header(&answer, "content-range"), "bytes */10");
    assert!(body.contains("range_not_satisfiable"));
    let (status, body, _) = files.content("a%20b.txt", &[("if-none-match", &etag)]).await;
    assert_eq!((status.as_u16(), body.as_str()), (304, ""));
    let ranged = [("range", "bytes=0-0"), ("if-range", etag.as_str())];
    assert_eq!(files.content("a%20b.txt", &ranged).await.1, "0");
    files
        .put("a%20b.txt", &[("if-match", "*")], "another")
        .await
        .expect(200);
    assert_eq!(files.content("a%20b.txt", &ranged).await.1, "another");
    assert_eq!(
        files.content("a%20b.txt", &[("if-none-match", &etag)]).await.0,
        200
    );
    files
        .put("a%20b.txt", &[("if-none-match", "*")], "x")
        .await
        .problem(412, "precondition_failed");
    files
        .put("new", &[("if-match", "*")], "x")
        .await
        .problem(412, "precondition_failed");
    files
        .put("new", &[("if-match", "W/\"x\"")], "x")
        .await
        .problem(412, "precondition_failed");
    assert_eq!(files.names("").await, ["a b.txt"]);
}

#[tokio::test]
async fn files_are_moved_copied_and_removed_and_nothing_is_lost_by_chance() {
    let app = AppBuilder::fake().start();
    let files = Files::of(app.client(), "alice").await;
    files.put("a/one.txt", &[], "1").await.expect(201);
    files.put("b/two.txt", &[], "2").await.expect(201);
    files.post("/folders", &json!({"path": "c/d"})).await.expect(201);
    files
        .post("/folders", &json!({"path": "c/d"}))
        .await
        .problem(409, "file_exists");
    let put = |from: &str, to: &str| json!({"from": from, "to": to});
    files
        .post("/move", &put("a/one.txt", "b/two.txt"))
        .await
        .problem(409, "file_exists");
    files
        .post("/move", &put("a", "a/inside"))
        .await
        .problem(409, "folder_into_itself");
    files
        .post("/move", &put("nothing", "x"))
        .await
        .problem(404, "file_not_found");
    let moved = files
        .post("/move", &put("a/one.txt", "c/d/one.txt"))
        .await
        .expect(200);
    assert_eq!(moved.text("path"), "c/d/one.txt");
    files.post("/copy", &put("c", "e")).await.expect(201);
    assert_eq!(files.content("e/d/one.txt", &[]).await.1, "1");
    files
        .put("a/x/y", &[("if-none-match", "*")], "")
        .await
        .expect(201);
    let no_parents = "no/parents&parents=false";
    files
        .put(no_parents, &[], "")
        .await
        .problem(404, "file_not_found");
    files.put("b", &[], "").await.problem(409, "not_a_file");
    files
        .put("b/two.txt/x", &[], "")
        .await
        .problem(409, "not_a_folder");
    let remove = |rest: &str| format!("{}?path={rest}", files.path(""));
    files
        .client
        .delete(&remove("c"))
        .await
        .problem(409, "folder_not_empty");
    files.client.delete(&remove("c&recursive=true")).await.expect(204);
    files
        .client
        .delete(&remove("c"))
        .await
        .problem(404, "file_not_found");
    files
        .client
        .delete(&files.path(""))
        .await
        .problem(422, "invalid_query");
    assert_eq!(
        files.names("?depth=9&glob=**/*.txt").await,
        ["b/two.txt", "e/d/one.txt"]
    );
}

#[tokio::test]
async fn a_form_writes_all_of_its_files_or_none() {
    let app = AppBuilder::fake()
        .with(|settings| settings.files.upload_max_files = 3)
        .start();
    let files = Files::of(app.client(), "alice").await;
    let form = |list: &[(&str, &str)]| {
        list.iter().fold(Form::new(), |form, (name, text)| {
            let part = Part::text((*text).to_owned()).file_name((*name).to_owned());
            form.part("files", part)
        })
    };
    let send = async |rest: &str, form: Form| {
        let request = files
            .client
            .request(Method::POST, &files.path(&format!("/upload{rest}")));
        read(request.multipart(form).send().await.unwrap()).await
    };
    let uploaded = send("?path=in", form(&[("a.txt", "1"), ("deep/b.txt", "2")]))
        .await
        .expect(201);
    assert_eq!(uploaded.body["data"][1]["path"], "in/deep/b.txt");
    for (wrong, why) in [
        (form(&[("good", "1"), ("../../out", "2")]), "must not hold `..`"),
        (
            form(&[("good", "1"), ("/etc/passwd", "2")]),
            "must be a relative path",
        ),
        (form(&[("good", "1"), ("good", "2")]), "two files"),
        (
            form(&[("1", ""), ("2", ""), ("3", ""), ("4", "")]),
            "at most 3 files",
        ),
        (Form::new().text("a", "b"), "no file name"),
    ] {
        let refused = send("", wrong).await.problem(422, "validation_failed");
        assert!(refused.raw.contains(why), "{}", refused.raw);
    }
    let taken = send("?overwrite=false&path=in", form(&[("new", "1"), ("a.txt", "2")])).await;
    taken.problem(409, "file_exists");
    let boundary = [("content-type", "multipart/form-data; boundary=x")];
    let broken = "--x\r\nContent-Disposition: form-data; name=\"a\"; filename=\"cut\"\r\n\r\nhalf";
    let broken = files.raw(Method::POST, "/upload", &boundary, broken.into()).await;
    read(broken).await.problem(400, "upload_broken");
    let json = [("content-type", "application/json")];
    let no_form = files.raw(Method::POST, "/upload", &json, b"{}".to_vec()).await;
    read(no_form).await.problem(415, "unsupported_media_type");
    assert_eq!(
        files.names("?depth=9").await,
        ["in", "in/a.txt", "in/deep", "in/deep/b.txt"]
    );
    assert_eq!(files.content("in/a.txt", &[]).await.1, "1");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_file_leaves_nothing() {
    use tokio::io::AsyncWriteExt as _;
    let app = AppBuilder::fake()
        .with(|settings| settings.files.upload_patience = std::time::Duration::from_millis(300))
        .start();
    let files = Files::of(app.client(), "alice").await;
    files.put("kept", &[], "kept").await.expect(201);
    let head = |rest: &str, method: &str| {
        format!(
            "{method} {} HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n",
            files.path(rest)
        )
    };
    for (method, rest) in [("PUT", "/content?path=kept"), ("POST", "/archive")] {
        let mut socket = tokio::net::TcpStream::connect(app.address).await.unwrap();
        socket.write_all(head(rest, method).as_bytes()).await.unwrap();
        socket.write_all(&[b'x'; 1000]).await.unwrap();
        drop(socket);
        // One that stays and is silent.
        let mut socket = tokio::net::TcpStream::connect(app.address).await.unwrap();
        socket.write_all(head(rest, method).as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _closed = tokio::io::AsyncReadExt::read_to_string(&mut socket, &mut answer).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    let folder = app.workspace("alice");
    until("nothing is left", async || {
        (inodes(&folder) == BTreeSet::from(["kept".to_owned()])).then_some(())
    })
    .await;
    assert_eq!(files.content("kept", &[]).await.1, "kept");
}

#[tokio::test]
async fn a_folder_goes_out_and_in_as_an_archive_of_either_form() {
    let app = AppBuilder::fake().start();
    let files = Files::of(app.client(), "alice").await;
    files.put("src/a.txt", &[], "hello").await.expect(201);
    files
        .put("src/日本/b.txt", &[], &"x".repeat(300_000))
        .await
        .expect(201);
    for (number, format) in ["tar.gz", "zip"].into_iter().enumerate() {
        let rest = format!("/archive?path=src&format={format}");
        let answer = files.raw(Method::GET, &rest, &[], Vec::new()).await;
        assert_eq!(answer.status(), 200);
        assert!(header(&answer, "content-disposition").contains(&format!("src.{format}")));
        let archive = answer.bytes().await.unwrap().to_vec();
        let rest = format!("/archive?path=copy{number}&format={format}");
        let unpacked = files.raw(Method::POST, &rest, &[], archive.clone()).await;
        let unpacked = read(unpacked).await.expect(201);
        assert_eq!(unpacked.body, json!({"files": 2, "folders": 1, "bytes": 300_005}));
        let again = files.raw(Method::POST, &rest, &[], archive.clone()).await;
        read(again).await.problem(409, "file_exists");
        let over = files
            .raw(Method::POST, &format!("{rest}&overwrite=true"), &[], archive)
            .await;
        read(over).await.expect(201);
        assert_eq!(
            files.content(&format!("copy{number}/a.txt"), &[]).await.1,
            "hello"
        );
    }
    let none = files
        .raw(Method::GET, "/archive?path=nothing", &[], Vec::new())
        .await;
    read(none).await.problem(404, "file_not_found");
    let file = files
        .raw(Method::GET, "/archive?path=src/a.txt", &[], Vec::new())
        .await;
    read(file).await.problem(409, "not_a_folder");
}

/// A gzipped tar that is never whole in memory: `count` files of `bytes` zeros.
fn bomb(count: usize, bytes: u64) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut tar = tar::Builder::new(gz);
    for number in 0..count {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("{number}"), std::io::repeat(0).take(bytes))
            .unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

#[tokio::test]
async fn a_bomb_and_too_many_files_are_refused_and_leave_nothing() {
    let app = AppBuilder::fake()
        .with(|settings| settings.files.archive_max_unpacked_bytes = 64 * 1024 * 1024)
        .start();
    let files = Files::of(app.client(), "alice").await;
    files.put("kept", &[], "kept").await.expect(201);
    // A gzip of many members: each is a tenth of a gigabyte of zeros, 10 GB in all, in some 10 MB.
    let member = {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::copy(&mut std::io::repeat(0).take(100 * 1024 * 1024), &mut gz).unwrap();
        gz.finish().unwrap()
    };
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_mode(0o644);
    header.set_size(100 * 100 * 1024 * 1024);
    header.set_cksum();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut gz, header.as_bytes()).unwrap();
    let mut ten_gigabytes = gz.finish().unwrap();
    for _ in 0..100 {
        ten_gigabytes.extend_from_slice(&member);
    }
    for (what, archive, why) in [
        ("10 GB", ten_gigabytes, "more than 67108864 bytes"),
        ("100,000 entries", bomb(100_000, 0), "more than 50000 files"),
    ] {
        let refused = files.raw(Method::POST, "/archive?path=into", &[], archive).await;
        let refused = read(refused).await.problem(422, "archive_refused");
        assert!(refused.raw.contains(why), "{what}: {}", refused.raw);
        assert_eq!(
            inodes(&app.workspace("alice")),
            BTreeSet::from(["kept".to_owned()]),
            "{what}"
        );
    }
}

#[tokio::test]
async fn the_quota_of_a_workspace_is_kept_by_every_way_in() {
    let app = AppBuilder::fake()
        .with(|settings| {
            settings.isolation.disk_max_bytes = 100_000;
            settings.isolation.disk_max_entries = 10;
            settings.files.max_file_bytes = 200_000;
        })
        .start();
    let files = Files::of(app.client(), "alice").await;
    files.put("a", &[], &"x".repeat(60_000)).await.expect(201);
    files
        .put("b", &[], &"x".repeat(60_000))
        .await
        .problem(507, "workspace_full");
    files
        .put("b", &[], &"x".repeat(300_000))
        .await
        .problem(507, "workspace_full");
    files
        .post("/copy", &json!({"from": "a", "to": "b"}))
        .await
        .problem(507, "workspace_full");
    let archive = files.raw(Method::POST, "/archive", &[], bomb(1, 60_000)).await;
    read(archive).await.problem(507, "workspace_full");
    let archive = files.raw(Method::POST, "/archive", &[], bomb(12, 0)).await;
    read(archive).await.problem(507, "workspace_full");
    let form = Form::new().part("a", Part::text("x".repeat(60_000)).file_name("c"));
    let form = files
        .client
        .request(Method::POST, &files.path("/upload"))
        .multipart(form);
    read(form.send().await.unwrap())
        .await
        .problem(507, "workspace_full");
    assert_eq!(inodes(&app.workspace("alice")), BTreeSet::from(["a".to_owned()]));
}

#[tokio::test]
async fn a_file_longer_than_files_may_be_is_refused() {
    let app = AppBuilder::fake()
        .with(|settings| {
            settings.files.max_file_bytes = 1000;
            settings.files.archive_max_bytes = 1000;
        })
        .start();
    let files = Files::of(app.client(), "alice").await;
    files.put("a", &[], &"x".repeat(1000)).await.expect(201);
    files
        .put("a", &[], &"y".repeat(1001))
        .await
        .problem(413, "file_too_large");
    let archive = files.raw(Method::POST, "/archive", &[], vec![0; 1001]).await;
    read(archive).await.problem(413, "file_too_large");
    assert_eq!(files.content("a", &[]).await.1, "x".repeat(1000));
}

#[tokio::test]
async fn what_leads_out_is_refused_by_every_operation() {
    let app = AppBuilder::fake().start();
    let files = Files::of(app.client(), "alice").await;
    let other = app.workspace("bob");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("secret"), "secret").unwrap();
    let folder = app.workspace("alice");
    std::os::unix::fs::symlink(&other, folder.join("out")).unwrap();
    std::os::unix::fs::symlink(other.join("secret"), folder.join("secret")).unwrap();
    for path in ["../bob/secret", "/etc/passwd", "a/../../bob", "a%00b"] {
        files
            .get(&format!("/stat?path={path}"))
            .await
            .problem(422, "invalid_query");
        files.put(path, &[], "x").await.problem(422, "invalid_query");
    }
    for path in ["out/secret", "secret"] {
        files
            .get(&format!("/content?path={path}"))
            .await
            .problem(403, "file_outside");
    }
    files.get("?path=out").await.problem(403, "file_outside");
    files
        .get("/search?q=secret&path=out")
        .await
        .problem(403, "file_outside");
    files.get("/archive?path=out").await.problem(403, "file_outside");
    files.put("out/new", &[], "x").await.problem(403, "file_outside");
    files
        .post("/folders", &json!({"path": "out/new"}))
        .await
        .problem(403, "file_outside");
    files
        .post("/move", &json!({"from": "out/secret", "to": "mine"}))
        .await
        .problem(403, "file_outside");
    files
        .post("/copy", &json!({"from": "secret", "to": "mine"}))
        .await
        .problem(403, "file_outside");
    files
        .post("/move", &json!({"from": "../bob/secret", "to": "mine"}))
        .await
        .problem(422, "validation_failed");
    let removed = files
        .client
        .delete(&format!("{}?path=out/secret", files.path("")))
        .await;
    removed.problem(403, "file_outside");
    assert_eq!(
        files.get("/search?q=secret").await.expect(200).body["data"],
        json!([])
    );
    assert_eq!(inodes(&other), BTreeSet::from(["secret".to_owned()]));
    assert_eq!(std::fs::read_to_string(other.join("secret")).unwrap(), "secret");
}

#[tokio::test]
async fn a_reader_sees_one_whole_file_while_it_is_replaced_a_hundred_times() {
    let app = AppBuilder::fake().start();
    let files = Files::of(app.client(), "alice").await;
    let whole = |number: usize| number.to_string().repeat(50_000);
    files.put("a", &[], &whole(0)).await.expect(201);
    let (writer, reader) = (
        async {
            for number in 1..100 {
                files.put("a", &[], &whole(number % 10)).await.expect(200);
            }
        },
        async {
            for _ in 0..100 {
                let (status, text, _) = files.content("a", &[]).await;
                assert_eq!(status, 200);
                assert_eq!(text.len(), 50_000);
                assert!(text.bytes().all(|byte| byte == text.as_bytes()[0]));
            }
        },
    );
    tokio::join!(writer, reader);
}

#[tokio::test]
async fn of_writers_that_expect_the_same_state_one_wins() {
    let app = AppBuilder::fake().start();
    let files = Files::of(app.client(), "alice").await;
    let mut won = 0;
    let writers = (0..8).map(|number| {
        let (files, text) = (&files, format!("{number}"));
        async move {
            files
                .put("a", &[("if-none-match", "*")], &text)
                .await
                .status
                .as_u16()
        }
    });
    for status in futures_util::future::join_all(writers).await {
        assert!(status == 201 || status == 412, "{status}");
        won += usize::from(status == 201);
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn as_many_archives_as_may_are_packed_at_once() {
    let app = AppBuilder::fake()
        .with(|settings| settings.files.heavy_max = 1)
        .start();
    let files = Files::of(app.client(), "alice").await;
    std::fs::write(app.workspace("alice").join("big"), random(8 * 1024 * 1024)).unwrap();
    let unread = files.raw(Method::GET, "/archive", &[], Vec::new()).await;
    assert_eq!(unread.status(), 200);
    let refused = files.get("/search?q=a").await.problem(503, "files_busy");
    assert!(refused.headers.contains_key("retry-after"));
    drop(unread);
    until("there is room again", async || {
        (files.get("/search?q=a").await.status == 200).then_some(())
    })
    .await;
}

/// Bytes that cannot be packed smaller.
fn random(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(count).collect()
}

#[tokio::test]
async fn lists_go_on_in_pages_and_searches_say_where_they_ended() {
    let app = AppBuilder::fake()
        .with(|settings| {
            settings.files.list_max_seen = 7;
            settings.files.search_max_file_bytes = 100;
            settings.files.search_line_max_bytes = 10;
            settings.files.depth_max = 3;
        })
        .start();
    let files = Files::of(app.client(), "alice").await;
    let folder = app.workspace("alice");
    for number in 0..20 {
        std::fs::create_dir_all(folder.join(format!("d{number:02}"))).unwrap();
        std::fs::write(folder.join(format!("d{number:02}/f")), "a needle in a haystack\n").unwrap();
    }
    std::fs::create_dir_all(folder.join("x/y/z/w")).unwrap();
    let (mut told, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = files
            .get(&format!("?depth=2&glob=*/f&limit=5{cursor}"))
            .await
            .expect(200);
        told.extend(
            page.body["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry["path"].to_string()),
        );
        let Some(next) = page.body["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
        files
            .get(&format!("?depth=3&limit=5{cursor}"))
            .await
            .problem(400, "invalid_cursor");
    }
    assert_eq!(told.len(), 20, "{told:?}");
    let mut deep = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = files.get(&format!("?path=x&depth=99{cursor}")).await.expect(200);
        deep.extend(
            page.body["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry["path"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page.body["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(deep, ["x/y", "x/y/z", "x/y/z/w"], "as deep as lists go");
    let some = files.get("/search?q=needle&limit=5").await.expect(200);
    assert_eq!(some.body["truncated"], true);
    assert_eq!(
        some.body["data"][0],
        json!({"path": "d00/f", "line": 1, "column": 3, "text": "a needle i"})
    );
    let all = files
        .get("/search?q=need.e&regex=true&case_sensitive=true&limit=50")
        .await
        .expect(200);
    assert_eq!(
        (all.body["data"].as_array().unwrap().len(), &all.body["truncated"]),
        (20, &json!(false))
    );
    std::fs::write(folder.join("long"), "needle ".repeat(100)).unwrap();
    let all = files.get("/search?q=needle&limit=50").await.expect(200);
    assert_eq!(all.body["truncated"], true, "a file was too long");
    for bad in [
        "?glob=[",
        "/search?q=(&regex=true",
        "/search?q=",
        "/search",
        "?depth=0",
    ] {
        files.get(bad).await.problem(422, "invalid_query");
    }
}
