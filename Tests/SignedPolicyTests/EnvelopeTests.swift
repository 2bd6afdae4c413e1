import Foundation
import RegistryAccess
import TestSupport
import Testing

@testable import SignedPolicy

struct EnvelopeTests {
    @Test
    func `what is signed is what DSSE's protocol says`() {
        // The example of its protocol.md.
        let encoded = Envelope.preAuthenticationEncoding(
            Array("hello world".utf8),
            type: "http://example.com/HelloWorld"
        )
        #expect(String(decoding: encoded, as: UTF8.self) == "DSSEv1 29 http://example.com/HelloWorld 11 hello world")
    }

    @Test
    func `another implementation of Ed25519 agrees`() async throws {
        try await withTemporaryDirectory { root in
            let key = SigningKey.generate()
            let envelope = try Envelope(signing: Array(#"{"a":1}"#.utf8), as: .policy, with: [key])
            // SubjectPublicKeyInfo of RFC 8410.
            let publicKey: [UInt8] =
                [0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00] + key.verificationKey.bytes
            let files = [
                "key": publicKey, "message": Envelope.message(envelope.payload, .policy),
                "signature": envelope.signatures[0].bytes,
            ]
            for (name, bytes) in files { try Data(bytes).write(to: URL(fileURLWithPath: "\(root)/\(name)")) }
            let verify = [
                "openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "\(root)/key", "-rawin", "-in",
                "\(root)/message", "-sigfile", "\(root)/signature",
            ]
            try await runProgram(verify).expecting(0)
            let digest = try await runProgram(["sh", "-c", "tail -c 32 \(root)/key | sha256sum"]).expecting(0)
            #expect(digest.output.hasPrefix(key.verificationKey.id.description))
            try Data(files["message", default: []] + [0]).write(to: URL(fileURLWithPath: "\(root)/message"))
            #expect(try await runProgram(verify).status != 0)
        }
    }

    @Test
    func `a key file holds a key, and nothing else shows it`() throws {
        let key = SigningKey.generate()
        #expect(SigningKey(file: Array(key.file.utf8)) == key)
        #expect(SigningKey(file: Array(key.file.dropLast().utf8)) == key)
        #expect("\(key)" == "<redacted>")
        #expect(String(reflecting: key) == "<redacted>")
        for text in [
            "", "docker-ram-key-v1:ed25519:", key.file + "\n", " " + key.file,
            "docker-ram-key-v2" + key.file.dropFirst(17),
        ] {
            #expect(SigningKey(file: Array(text.utf8)) == nil)
        }
        #expect(KeyID(fingerprint: key.verificationKey.id.fingerprint) == key.verificationKey.id)
        let digits = key.verificationKey.id.description
        for text in ["", digits, "sha256:", "SHA256:\(digits)", "sha256:\(digits)0", "sha256:\(digits.uppercased())x"] {
            #expect(KeyID(fingerprint: text) == nil)
        }
    }

    @Test
    func `signatures from several machines are put together`() throws {
        let (one, two) = (SigningKey.generate(), SigningKey.generate())
        let payload = Array("{}".utf8)
        let first = try Envelope(signing: payload, as: .root, with: [one])
        let joined = try #require(first.joined(with: [Envelope(signing: payload, as: .root, with: [two, one])]))
        let keys = Dictionary(uniqueKeysWithValues: [one, two].map { ($0.verificationKey.id, $0.verificationKey) })
        #expect(joined.signatures.count == 2)
        #expect(joined.signers(among: keys).count == 2)
        #expect(try Envelope(json: Array(joined.json.utf8), as: .root) == joined)
        #expect(first.joined(with: [try Envelope(signing: [1], as: .root, with: [two])]) == nil)
        #expect(first.joined(with: [try Envelope(signing: payload, as: .policy, with: [two])]) == nil)
    }

    @Test
    func `more signatures than an envelope may bear are refused`() throws {
        let keys = (0...Envelope.mostSignatures).map { _ in SigningKey.generate() }
        let many = try Envelope(signing: [1], as: .policy, with: keys)
        #expect(throws: Rejection.self) { try Envelope(json: Array(many.json.utf8), as: .policy) }
        let few = try Envelope(signing: [1], as: .policy, with: Array(keys.dropLast()))
        #expect(try Envelope(json: Array(few.json.utf8), as: .policy) == few)
    }

    @Test
    func `documents come back as they were written`() throws {
        let own = SignedOrganization()
        let root = own.rootDocument(7)
        #expect(try RootDocument(payload: root.payload) == root)
        let freshness = try own.freshnessDocument(5, of: 3)
        #expect(try FreshnessDocument(payload: freshness.payload) == freshness)
        let payload = try own.policyDocument(3)
        let policy = try PolicyDocument(payload: payload)
        #expect(PolicyDocument.payload(policy.policy, teams: policy.teams, issued: policy.issued) == payload)
    }

    @Test
    func `a root document whose roles cannot be met is refused`() throws {
        let own = SignedOrganization()
        let text = String(decoding: own.rootDocument().payload, as: UTF8.self)
        let key = own.keys(.policy)[0].verificationKey
        let other = SigningKey.generate().verificationKey
        for (old, new) in [
            (#""threshold":1"#, #""threshold":2"#), (#""threshold":1"#, #""threshold":0"#),
            (#""version":1"#, #""version":0"#), (#""version":1"#, #""version":01"#),
            (#""version":1"#, #""version":1.0"#),
            ("Z\"", "+00:00\""), ("\"ticket\":{", "\"tickets\":{"), ("\"organization\"", "\"organisation\""),
            // A key under another name, and a name without a key.
            ("\"\(key.id)\":\"", "\"\(other.id)\":\""),
            ("\"keys\":[\"\(key.id)\"]", "\"keys\":[\"\(other.id)\"]"),
            ("\"keys\":[\"\(key.id)\"]", "\"keys\":[\"\(key.id)\",\"\(key.id)\"]"),
            ("\"keys\":[\"\(key.id)\"]", "\"keys\":[]"),
            // A root key on a server.
            ("\"keys\":[\"\(key.id)\"]", "\"keys\":[\"\(own.pinned)\"]"),
        ] {
            #expect(text.contains(old))
            let altered = text.replacing(old, with: new, maxReplacements: 1)
            #expect(throws: Rejection.self, "\(new)") { try RootDocument(payload: Array(altered.utf8)) }
        }
    }
}
