import RegistryAccess
import Testing

/// How a call's body and the headers about it look to an authorization plugin.
enum BodyShape: Sendable, CustomStringConvertible {
    /// No header says anything about a body: a GET, or a client that sends chunks of nobody knows what.
    case unsaid
    /// `Content-Length: 0`, as current clients send it.
    case empty
    /// `Content-Type` and `Content-Length: 0`, as older clients send it.
    case emptyOf(String)
    /// `Content-Type` and a length, the body not shown.
    case hidden(String, Int)
    /// `Content-Type` without a length, the body not shown.
    case chunked(String)
    /// A JSON body that was shown.
    case json(String)

    var headers: [(name: String, value: String)] {
        switch self {
        case .unsaid: []
        case .empty: [("Content-Length", "0")]
        case .emptyOf(let type): [("Content-Type", type), ("Content-Length", "0")]
        case .hidden(let type, let length): [("Content-Type", type), ("Content-Length", "\(length)")]
        case .chunked(let type): [("Content-Type", type)]
        case .json(let text): [("Content-Type", "application/json"), ("Content-Length", "\(text.utf8.count)")]
        }
    }

    var body: [UInt8]? {
        if case .json(let text) = self { Array(text.utf8) } else { nil }
    }

    var description: String {
        switch self {
        case .unsaid: "unsaid"
        case .empty: "empty"
        case .emptyOf(let type): "empty \(type)"
        case .hidden(let type, let length): "\(length) bytes of \(type)"
        case .chunked(let type): "chunks of \(type)"
        case .json(let text): text
        }
    }
}

let formType = "application/x-www-form-urlencoded"

/// A call and what it reads as, in the words of ``summary(of:)``.
struct CallRow: Sendable, CustomTestStringConvertible {
    let line: String
    let shape: BodyShape
    let expected: String

    init(_ line: String, _ shape: BodyShape, _ expected: String) {
        self.line = line
        self.shape = shape
        self.expected = expected
    }

    var testDescription: String { "\(line) (\(shape))" }

    var request: EngineRequest {
        let space = line.firstIndex(of: " ") ?? line.endIndex
        var request = EngineRequest(
            method: String(line[..<space]),
            target: String(line[space...].dropFirst()),
            headers: shape.headers,
            body: shape.body
        )
        // As for an engine that speaks HTTP/1 only, which is the harder case to get right.
        request.trustsContentLength = true
        return request
    }

    var reading: String { summary(of: request.reading(ownPluginName: "docker-ram")) }
}

/// A reading in one line: `nothing`, `own`, `builder moby/buildkit`, `pull ghcr.io/acme/api`, or `?` and the name of the obstacle.
func summary(of reading: EngineRequest.Reading) -> String {
    switch reading {
    case .nothing: "nothing"
    case .ownPlugin: "own"
    case .builder(let container): "builder \(container.subject)"
    case .notInspected(let obstacle): "?\(name(of: obstacle))"
    case .accesses(let contacts):
        contacts.map { contact in
            let repository = contact.access.repository.map { "/\($0)" } ?? ""
            return "\(contact.access.action) \(contact.access.address)\(repository)"
        }.joined(separator: ", ")
    }
}

private func name(of obstacle: Obstacle) -> String {
    switch obstacle {
    case .unknownMethod: "method"
    case .unreadableTarget: "target"
    case .unknownRoute: "route"
    case .unreadableQuery: "query"
    case .repeatedParameter(let name): "twice \(name)"
    case .hiddenParameters: "hidden"
    case .importFromStream: "import"
    case .pullAndImport: "both"
    case .nothingNamed: "none"
    case .unreadableImage: "image"
    case .unreadableAddress: "address"
    case .unreadableLocation: "location"
    case .missingBody: "no body"
    case .unreadableBody: "body"
    case .unreadableParameter(let name): "parameter \(name)"
    case .rollback: "rollback"
    case .pluginIdentifier: "identifier"
    }
}
