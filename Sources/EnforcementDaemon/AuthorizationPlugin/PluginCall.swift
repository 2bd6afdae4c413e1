import RegistryAccess

/// A request to the engine, as the engine hands it to its authorization plugins (moby, `pkg/authorization/api.go`).
///
/// Only what a decision needs is taken out of the call. It holds bodies that may hold passwords, so it is never kept,
/// logged or printed.
struct PluginCall: Sendable {
    /// The method, for example `POST`.
    let method: String
    /// The target as it was sent: not decoded, with its query.
    let target: String
    /// The headers that the engine passes on.
    let headers: [(name: String, value: String)]
    /// The body; the engine passes on JSON only, and leaves this out if there is none.
    let body: [UInt8]?

    /// Reads the body of an `AuthZReq` call.
    ///
    /// - Throws: ``MalformedCall`` if it is not exactly one well-formed call. Such a call must be refused: when the
    ///   connection to a plugin breaks, the engine repeats its call with an empty body.
    init(json: [UInt8]) throws(MalformedCall) {
        guard !json.isEmpty else { throw .empty }
        let call: JSONValue
        do throws(InvalidJSON) {
            let limits = StrictJSON.Limits(bytes: PluginConnection.largestCall, depth: 8)
            call = try StrictJSON.parse(json, limits: limits)
        } catch {
            throw .notJSON
        }
        guard case .object = call else { throw .notJSON }
        method = try Self.text("RequestMethod", in: call)
        target = try Self.text("RequestUri", in: call)
        headers = try Self.headers(in: call)
        body = try Self.body(in: call)
    }

    private static func text(_ name: String, in call: JSONValue) throws(MalformedCall) -> String {
        guard let text = call.value(named: name)?.text, !text.isEmpty else { throw .incomplete(name) }
        return text
    }

    private static func headers(in call: JSONValue) throws(MalformedCall) -> [(name: String, value: String)] {
        switch call.value(named: "RequestHeaders") {
        case nil, .null: return []
        case .object(let members):
            var headers: [(name: String, value: String)] = []
            headers.reserveCapacity(members.count)
            for member in members {
                guard let value = member.value.text else { throw .incomplete("RequestHeaders") }
                headers.append((member.name, value))
            }
            return headers
        default: throw .incomplete("RequestHeaders")
        }
    }

    private static func body(in call: JSONValue) throws(MalformedCall) -> [UInt8]? {
        switch call.value(named: "RequestBody") {
        case nil, .null: return nil
        case .string(let text):
            guard let body = StrictBase64.decode(text.utf8) else { throw .incomplete("RequestBody") }
            return body
        default: throw .incomplete("RequestBody")
        }
    }
}

extension PluginCall: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// A call holds secrets, so no text of it shows anything.
    var description: String { "<a call of the engine>" }
    var debugDescription: String { description }
    var customMirror: Mirror { Mirror(self, children: []) }
}

/// Why a call of the engine cannot be read; what the person reads.
enum MalformedCall: Error, Hashable, Sendable, CustomStringConvertible {
    /// The call has no body.
    case empty
    /// The call is not one JSON object.
    case notJSON
    /// A member of the call is missing or not of its type.
    case incomplete(String)
    /// The call is larger than ``PluginConnection/largestCall``.
    case tooLarge

    /// What is wrong, in few words.
    var description: String {
        switch self {
        case .empty: "Docker passed on nothing; try again"
        case .notJSON: "Docker passed on something that is not JSON"
        case .incomplete(let member): "Docker passed on no proper \(member)"
        case .tooLarge: "Docker passed on more than 8 MiB"
        }
    }
}
