import RegistryAccess
import TestSupport
import Testing

/// Requests made by chance, the same ones in every run.
@Suite struct EngineRequestRandomTests {
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func `any bytes have a reading`(_ seed: UInt64) {
        var chance = SeededGenerator(seed: seed)
        for _ in 0..<5_000 {
            let request = EngineRequest(
                method: ["GET", "POST", "PUT", "DELETE", "x"].randomElement(using: &chance) ?? "",
                target: Self.text(&chance),
                headers: [(name: "Content-Type", value: Self.text(&chance)), (name: Self.text(&chance), value: "0")],
                body: Bool.random(using: &chance) ? Array(Self.text(&chance).utf8) : nil
            )
            if case .accesses(let contacts) = request.reading(ownPluginName: "docker-ram") {
                #expect(!contacts.isEmpty)
                for contact in contacts {
                    #expect(contact.subject.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F })
                }
            }
        }
    }

    // Escaping any bytes of a path or a query changes nothing: a server decodes them once.
    @Test(arguments: [11, 12, 13] as [UInt64])
    func `escaping changes no reading`(_ seed: UInt64) {
        var chance = SeededGenerator(seed: seed)
        let names = ["alpine", "evil.test/x", "EVIL/x", "ghcr.io/acme/api:1", "localhost:5000/x", "a b", "x@y"]
        for _ in 0..<2_000 {
            let name = names.randomElement(using: &chance) ?? ""
            let query = "\(Self.escaped("fromImage", &chance))=\(Self.escaped(name, &chance))"
            let plain = CallRow("POST /images/create?fromImage=\(name.replacing(" ", with: "+"))", .empty, "")
            let escaped = CallRow("POST /\(Self.escaped("images/create", &chance))?\(query)", .empty, "")
            #expect(escaped.reading == plain.reading, "\(escaped.line)")

            let path = CallRow("POST /images/\(name.replacing(" ", with: "%20"))/push", .empty, "")
            let escapedPath = CallRow("POST /images/\(Self.escaped(name, &chance))/push", .empty, "")
            #expect(escapedPath.reading == path.reading, "\(escapedPath.line)")
        }
    }

    // A second value for a parameter that decides is a refusal wherever it stands.
    @Test(arguments: [21, 22] as [UInt64])
    func `a parameter that comes twice is never chosen from`(_ seed: UInt64) {
        var chance = SeededGenerator(seed: seed)
        for _ in 0..<2_000 {
            var pairs = [
                "fromImage=ok.test/x", "\(Self.escaped("fromImage", &chance))=evil.test/y", "repo=r", "platform=",
            ]
            pairs.shuffle(using: &chance)
            let row = CallRow("POST /images/create?\(pairs.joined(separator: "&"))", .empty, "?twice fromImage")
            #expect(row.reading == row.expected)
        }
    }

    // What a pull reads as is an image that can be written and read again.
    @Test(arguments: [31, 32] as [UInt64])
    func `what is read can be read again`(_ seed: UInt64) throws {
        var chance = SeededGenerator(seed: seed)
        let parts = [
            "a", "evil.test", ".", "/", ":", "5000", "-", "_", "A", "localhost", "[::1]", "x1", "@", "docker.io",
        ]
        for _ in 0..<5_000 {
            let name = (0..<Int.random(in: 1...6, using: &chance)).map { _ in parts.randomElement(using: &chance) ?? ""
            }
            let request = CallRow("POST /images/create?fromImage=\(name.joined())", .empty, "").request
            guard case .accesses(let contacts) = request.reading(ownPluginName: "docker-ram") else { continue }
            let contact = try #require(contacts.first)
            let image = try ImageReference(contact.subject)
            #expect(contact.access == AccessRequest(.pull, image))
            #expect(image.description == contact.subject)
        }
    }

    private static let fragments = [
        "/images/create", "/images/", "/push", "/build", "/plugins/", "/services/create", "/swarm/join", "/auth", "?",
        "fromImage=", "remote=", "&", "%", "%2F", "%zz", "..", "//", "v1.41", "http://", ";", "é", "\u{0}", "evil.test",
        "docker-ram", "application/json", formType, "{", "}", "\"TaskTemplate\":", "[", "]", ",", "\"", "cachefrom=",
    ]

    private static func text(_ chance: inout SeededGenerator) -> String {
        (0..<Int.random(in: 0...8, using: &chance)).map { _ in fragments.randomElement(using: &chance) ?? "" }.joined()
    }

    private static func escaped(_ text: String, _ chance: inout SeededGenerator) -> String {
        var escaped = ""
        for byte in text.utf8 {
            let isPlain = byte != UInt8(ascii: " ") && Bool.random(using: &chance)
            let digits = String(byte, radix: 16, uppercase: Bool.random(using: &chance))
            escaped += isPlain ? String(UnicodeScalar(byte)) : "%" + (digits.count < 2 ? "0" : "") + digits
        }
        return escaped
    }
}
