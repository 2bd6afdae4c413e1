import RegistryAccess

/// What a local user asks over the control socket: one line of JSON.
enum ControlRequest: Hashable, Sendable {
    /// How docker-ramd is.
    case status
    /// The newest records of the decision log, and with `follow` those to come.
    case log(limit: Int, follow: Bool)

    /// The longest line that is read, in bytes.
    static let longestLine = 64 << 10

    /// Reads a request.
    ///
    /// - Throws: ``InvalidControlRequest`` if it is none; unknown keys included.
    init(line: [UInt8]) throws(InvalidControlRequest) {
        let json: JSONValue
        do throws(InvalidJSON) {
            json = try StrictJSON.parse(line, limits: StrictJSON.Limits(bytes: Self.longestLine, depth: 4))
        } catch {
            throw InvalidControlRequest(description: "the request is not JSON: \(error.message)")
        }
        guard let members = json.members else { throw InvalidControlRequest(description: "the request is no object") }
        switch json.value(named: "request")?.text {
        case "status":
            guard members.count == 1 else { throw InvalidControlRequest(description: "status takes no other keys") }
            self = .status
        case "log":
            var (limit, follow) = (50, false)
            for member in members where member.name != "request" {
                switch (member.name, member.value) {
                case ("limit", .number(let text)):
                    guard let number = Int(text), (0...DecisionLog.mostLines).contains(number) else {
                        throw InvalidControlRequest(description: "limit is a number from 0 to \(DecisionLog.mostLines)")
                    }
                    limit = number
                case ("follow", .bool(let flag)): follow = flag
                default:
                    throw InvalidControlRequest(description: "log takes limit (a number) and follow (true or false)")
                }
            }
            self = .log(limit: limit, follow: follow)
        default:
            throw InvalidControlRequest(description: "the request is neither \"status\" nor \"log\"")
        }
    }
}

/// Why a line is no request.
struct InvalidControlRequest: Error, Hashable, CustomStringConvertible {
    let description: String

    /// The line that is answered.
    var line: String { JSONValue.object([JSONMember("error", .string(description))]).text() }
}
