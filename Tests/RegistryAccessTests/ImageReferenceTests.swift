import RegistryAccess
import TestSupport
import Testing

struct ImageReferenceTests {
    private static let hash = String(repeating: "f", count: 64)
    private static let digest = "sha256:" + hash

    @Test(
        "Docker's own reading",
        arguments: [
            // Docker Hub.
            ("alpine", "docker.io/library/alpine"), ("alpine:3", "docker.io/library/alpine:3"),
            ("library/alpine", "docker.io/library/alpine"), ("docker.io/alpine", "docker.io/library/alpine"),
            ("docker.io/library/alpine", "docker.io/library/alpine"),
            ("index.docker.io/alpine", "docker.io/library/alpine"),
            ("index.docker.io/library/alpine:3", "docker.io/library/alpine:3"), ("acme/api", "docker.io/acme/api"),
            ("docker.io/acme/api:1.2", "docker.io/acme/api:1.2"), ("a", "docker.io/library/a"),
            ("a/b/c", "docker.io/a/b/c"),
            ("a/a/a/a", "docker.io/a/a/a/a"), ("192.168.0.1", "docker.io/library/192.168.0.1"),
            ("192.168.0.1:80", "docker.io/library/192.168.0.1:80"), ("test.com:tag", "docker.io/library/test.com:tag"),
            ("test.com:5000", "docker.io/library/test.com:5000"), ("test.com", "docker.io/library/test.com"),
            ("test_com", "docker.io/library/test_com"), ("test_com/foo", "docker.io/test_com/foo"),
            ("foo_bar.com:8080", "docker.io/library/foo_bar.com:8080"), ("localhost", "docker.io/library/localhost"),
            ("localhost:5000", "docker.io/library/localhost:5000"), ("evilhost/x", "docker.io/evilhost/x"),
            ("localhost-evil/x", "docker.io/localhost-evil/x"), ("localhosts/x", "docker.io/localhosts/x"),
            ("docker---rules/docker", "docker.io/docker---rules/docker"),
            ("dock__er/docker", "docker.io/dock__er/docker"),
            ("lowercase:Uppercase", "docker.io/library/lowercase:Uppercase"), ("a:_x", "docker.io/library/a:_x"),
            // Docker Hub by another name.
            ("registry-1.docker.io/library/alpine", "docker.io/library/alpine"),
            ("registry-1.docker.io/alpine", "docker.io/library/alpine"),
            ("registry.hub.docker.com/library/alpine", "docker.io/library/alpine"),
            ("docker.io:443/library/alpine", "docker.io/library/alpine"),
            ("DOCKER.io/library/alpine", "docker.io/library/alpine"),
            ("Docker.IO/alpine", "docker.io/library/alpine"), ("registry-1.docker.io:443/a/b", "docker.io/a/b"),
            // Other registries.
            ("ghcr.io/acme/api", "ghcr.io/acme/api"), ("ghcr.io/x", "ghcr.io/x"), ("ghcr.io:443/x", "ghcr.io/x"),
            ("GHCR.io/x", "ghcr.io/x"), ("evil.example:5000/x", "evil.example:5000/x"),
            ("test:5000/repo", "test:5000/repo"),
            ("test:5000/repo:tag", "test:5000/repo:tag"), ("localhost/x", "localhost/x"),
            ("localhost:5000/x", "localhost:5000/x"),
            ("127.0.0.1:5000/x", "127.0.0.1:5000/x"), ("192.168.1.1/repo", "192.168.1.1/repo"),
            ("sub-dom1.foo.com/bar/baz/quux:some-long-tag", "sub-dom1.foo.com/bar/baz/quux:some-long-tag"),
            ("b.gcr.io/test.example.com/my-app:test.example.com", "b.gcr.io/test.example.com/my-app:test.example.com"),
            ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com"),
            ("192.168.1.1:5000/repo:5050", "192.168.1.1:5000/repo:5050"),
            ("foo.localhost:5000/x", "foo.localhost:5000/x"),
            (
                "registry.io/foo/project--id.module--name.ver---sion--name",
                "registry.io/foo/project--id.module--name.ver---sion--name"
            ),
            ("example.com/some_separator__underscore/myimage", "example.com/some_separator__underscore/myimage"),
            ("a.b/c.d/e.f:g.h", "a.b/c.d/e.f:g.h"), ("0101.com/x", "0101.com/x"),
            // An upper-case first part is a host.
            ("EVILHOST/x", "EVILHOST/x"), ("7-1:443/x", "7-1:443/x"), ("Docker/docker", "DOCKER/docker"),
            ("LOCALDOMAIN/debian", "LOCALDOMAIN/debian"),
            ("evilHost/x:1", "EVILHOST/x:1"), ("Localhost/x", "localhost/x"), ("A/b", "A/b"),
            // IPv6.
            ("[2001:db8::1]/repo", "[2001:db8::1]/repo"),
            ("[2001:db8:1:2:3:4:5:6]/repo:tag", "[2001:db8:1:2:3:4:5:6]/repo:tag"),
            ("[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000/repo:tag"), ("[::1]:5000/repo", "[::1]:5000/repo"),
            ("[2001:db8::]:5000/repo", "[2001:db8::]:5000/repo"), ("[::FFFF:7f00:1]:5000/x", "127.0.0.1:5000/x"),
            ("[fc00::1]:5000/docker/docker", "[fc00::1]:5000/docker/docker"),
            // Digests; with a tag both are kept.
            ("alpine@\(digest)", "docker.io/library/alpine@\(digest)"),
            ("alpine:3@\(digest)", "docker.io/library/alpine:3@\(digest)"),
            ("test:5000/repo:tag@\(digest)", "test:5000/repo:tag@\(digest)"),
            ("[::1]:5000/r@\(digest)", "[::1]:5000/r@\(digest)"),
            ("a@sha512:\(hash)\(hash)", "docker.io/library/a@sha512:\(hash)\(hash)"),
            (
                "a@sha384:\(hash)ffffffffffffffffffffffffffffffff",
                "docker.io/library/a@sha384:\(hash)ffffffffffffffffffffffffffffffff"
            ),
            ("docker.io/\(hash)", "docker.io/library/\(hash)"), ("localhost/\(hash)", "localhost/\(hash)"),
            ("\(hash)f", "docker.io/library/\(hash)f"), ("\(hash):tag", "docker.io/library/\(hash):tag"),
        ]
    )
    func reference(_ text: String, isReadAs canonical: String) throws {
        let image = try ImageReference(text)
        #expect(image.description == canonical)
        #expect(try ImageReference(canonical) == image, "normalizing twice changes nothing")
    }

    @Test(
        "What Docker refuses, and the two things that only we refuse",
        arguments: [
            ("", InvalidImageReference.badFormat), (":justtag", .badFormat), ("@\(digest)", .badFormat),
            ("/x", .badFormat),
            ("x/", .badFormat), ("/", .badFormat), ("//", .badFormat), ("ghcr.io/", .badFormat),
            ("ghcr.io//x", .badFormat),
            ("https://ghcr.io/x", .badRegistry(.badPort)), ("https://github.com/docker/docker", .badRegistry(.badPort)),
            ("docker///docker", .badFormat),
            ("docker.io/docker///docker", .badFormat), ("docker/Docker", .uppercase),
            ("docker.io/docker/Docker", .uppercase),
            ("Uppercase:tag", .uppercase), ("test:5000/Uppercase/lowercase:tag", .uppercase), ("Foo/FarB", .uppercase),
            ("-docker", .badFormat), ("-docker/docker", .badFormat), ("docker-/docker", .badFormat),
            ("____/____", .badFormat),
            ("_docker/_docker", .badFormat), ("docker_/docker_", .badFormat),
            ("dock_.er/docker", .badRegistry(.badCharacter)),
            ("dock-.er/docker", .badRegistry(.badLabel)), ("dock..er/docker", .badRegistry(.badLabel)),
            ("foo/bar-", .badFormat),
            ("foo/-bar", .badFormat), ("foo/_bar", .badFormat), ("foo/.bar", .badFormat), ("foo/bar.", .badFormat),
            ("foo/b..r", .badFormat), ("foo/b___r", .badFormat), ("foo/b._r", .badFormat), ("foo/b-_r", .badFormat),
            ("a^a", .badFormat), ("aa/asdf$$^/aa", .badFormat), ("a b", .badFormat), ("a\nb", .badFormat),
            ("a\0", .badFormat),
            ("evil.test/x y", .badFormat), ("evil.test/x+y", .badFormat), ("evil.test/x%2fy", .badFormat),
            ("é/x", .badFormat),
            ("docker.io/caf\u{E9}", .badFormat), ("doc\u{212A}er/x", .badFormat), ("evil.test/x:", .badFormat),
            ("x:", .badFormat),
            ("x:.tag", .badFormat), ("x:-tag", .badFormat), ("x:tag~", .badFormat), ("x:a:b", .badFormat),
            ("x:a/b", .badRegistry(.badPort)),
            ("ghcr.io/x:a/b", .badFormat), ("x@", .badFormat), ("x@sha256", .badFormat), ("x@sha256:", .badFormat),
            ("x@sha256:zz", .badFormat),
            ("repo@sha256:ffffffffffffffffffffffffffffffffff", .badFormat), ("x@md5:\(hash)", .badFormat),
            ("x@SHA256:\(hash)", .badFormat),
            ("x@sha256:\(hash.uppercased())", .badFormat), ("x@\(digest)@\(digest)", .badFormat),
            ("x@\(digest):tag", .badFormat),
            ("validname@invaliddigest:\(hash)", .badFormat), ("registry.com:8080/myapp@bad", .badFormat),
            (hash, .imageID),
            ("da304e823d8ca2b9d863a3c897baeb852ba21ea9a9f1414736394ae7fcaf9821", .imageID),
            // IPv6: brackets only in front of a slash, no zone, no dotted quad.
            ("[2001:db8::1]", .badFormat), ("[2001:db8::1]:5000", .badFormat),
            ("fc00::1:5000/debian", .badRegistry(.badPort)),
            ("[fe80::1%eth0]:5000/x", .badRegistry(.badIPAddress)), ("[2001:db8:3:4::192.0.2.33]:5000/x", .badFormat),
            ("[]/x", .badFormat), ("[::1/x", .badRegistry(.badIPAddress)),
            // A host to Docker, but no registry address: Docker would contact it, so it is refused here.
            ("ev_il.test/x", .badRegistry(.badCharacter)), ("foo_bar.com:8080/app", .badRegistry(.badCharacter)),
            ("evil.example:0443/x", .badRegistry(.badPort)), ("evil.example:0/x", .badRegistry(.badPort)),
            ("evil.example:99999/x", .badRegistry(.badPort)), ("evil.example./x", .badRegistry(.badLabel)),
            (".docker/docker", .badRegistry(.badLabel)), ("docker./docker", .badRegistry(.badLabel)),
            ("2130706433:5000/x", .badRegistry(.badIPAddress)), ("0x7f.0.0.1:5000/x", .badRegistry(.badIPAddress)),
            ("127.1:5000/x", .badRegistry(.badIPAddress)), ("127.0.0.01/x", .badRegistry(.badIPAddress)),
            ("user@ghcr.io/x", .badRegistry(.badCharacter)), ("user:pw@ghcr.io/x", .badRegistry(.badPort)),
            ("ghcr.io:http/x", .badRegistry(.badPort)), ("ghcr.io:/x", .badRegistry(.badPort)),
            (":5000/x", .badRegistry(.empty)),
            ("do__cker:8080/docker", .badRegistry(.badCharacter)), ("http:/x", .badRegistry(.badPort)),
            ("evil%2etest:1/x", .badRegistry(.badCharacter)), ("ev\u{131}l.test/x", .badRegistry(.badCharacter)),
        ]
    )
    func refused(_ text: String, because error: InvalidImageReference) {
        #expect(throws: error) { try ImageReference(text) }
    }

    @Test("Lengths at and beyond their limits")
    func lengths() throws {
        let tag = String(repeating: "t", count: 128)
        #expect(try ImageReference("a:\(tag)").tag == tag)
        #expect(throws: InvalidImageReference.badFormat) { try ImageReference("a:\(tag)t") }
        let path = String(repeating: "a", count: 255)
        #expect(try ImageReference("example.com/\(path):tag").repository == path)
        #expect(throws: InvalidImageReference.tooLong) { try ImageReference("example.com/\(path)a") }
        // On Docker Hub "library/" counts.
        #expect(throws: InvalidImageReference.tooLong) { try ImageReference(path) }
        #expect(try ImageReference(String(path.dropLast(8))).repository.utf8.count == 255)
        #expect(throws: InvalidImageReference.tooLong) {
            try ImageReference(String(repeating: "a/", count: 1 << 19) + "a")
        }
    }

    @Test("Random names: what is read is printed so that it reads the same", arguments: 0..<20 as Range<UInt64>)
    func roundTrip(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let pieces = [
            "a", "Z", "9", ".", "-", "_", "__", ":", "/", "@", "[", "]", "localhost", "docker.io", "ghcr.io", "443",
            "::1", Self.digest,
        ]
        for _ in 0..<2_000 {
            let text = (0..<Int.random(in: 1...7, using: &generator)).map { _ in
                pieces.randomElement(using: &generator) ?? ""
            }.joined()
            guard let image = try? ImageReference(text) else { continue }
            #expect(try ImageReference(image.description) == image, "\(text)")
        }
    }
}
