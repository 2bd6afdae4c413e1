import GRDB
import RegistryAccess

/// What somebody asks for: that a registry be allowed.
struct RegistryRequest: Hashable, Sendable {
    /// What became of it.
    enum State: String, Sendable, CaseIterable {
        /// Nobody has answered.
        case open
        /// The registry is allowed, for good or until a date.
        case allowed
        /// It is not.
        case declined
        /// Whoever asked does not want it any more.
        case withdrawn
        /// It was allowed until a date that has come.
        case ended
    }

    /// The longest reason and the longest word of an answer, in characters.
    static let longestText = 500
    /// How many requests a person, and a device, may make in a day.
    static let mostInADay = 20
    /// How many requests of an organization's people may be open.
    static let mostOpen = 1000
    /// How many requests may be open of devices where nobody was signed in, which anybody may have registered.
    static let mostOpenOfNobody = 100
    /// How many requests a device is told of.
    static let mostOfDevice = 50

    /// Its number in the organization.
    let number: Int
    let registry: RegistryAddress
    /// To pull, or to push as well.
    let action: RegistryAction
    let reason: String
    /// Who asked; `nil`: nobody was signed in on the device.
    let user: String?
    /// Where; `nil`: in a browser.
    let device: String?
    /// What that device calls itself; `nil`, too, if it is not there any more.
    let deviceName: String?
    let made: Instant
    let state: State
    /// What was said to it.
    let word: String
    /// Who answered.
    let actor: String?
    let answered: Instant?
    /// When what was allowed ends.
    let until: Instant?
    /// The rule that the answer has added to the policy, as the policy document has it.
    let rule: String?
    /// The version of the policy that has it.
    let policyVersion: Int?

    /// The actions that it is about: who may push wants to pull, too.
    var actions: Set<RegistryAction> { Self.actions(of: action) }

    static func actions(of action: RegistryAction) -> Set<RegistryAction> {
        action == .push ? [.pull, .push] : [.pull]
    }

    /// Who asked, as the activity names them.
    var asker: String { user ?? device.map { "device:\($0)" } ?? Names.system }

    init(_ row: Row) throws {
        number = row["number"]
        registry = try RegistryAddress(row["registry"] as String)
        action = RegistryAction(rawValue: row["action"]) ?? .pull
        reason = row["reason"]
        user = row["user"]
        device = row["device"]
        deviceName = row["deviceName"]
        made = Instant(seconds: row["made"])
        state = State(rawValue: row["state"]) ?? .ended
        word = row["word"]
        actor = row["actor"]
        answered = (row["answered"] as Int64?).map(Instant.init(seconds:))
        until = (row["until"] as Int64?).map(Instant.init(seconds:))
        rule = row["rule"]
        policyVersion = row["policyVersion"]
    }

    /// The request as answers have it.
    var json: JSONValue {
        .object([
            JSONMember("number", .number("\(number)")),
            JSONMember("registry", .string(registry.description)),
            JSONMember("action", .string(action.rawValue)),
            JSONMember("reason", .string(reason)),
            JSONMember("user", .text(user)),
            JSONMember("device", .text(device)),
            JSONMember("made", .string(made.description)),
            JSONMember("state", .string(state.rawValue)),
            JSONMember("word", .string(word)),
            JSONMember("answeredBy", .text(actor)),
            JSONMember("answered", .text(answered?.description)),
            JSONMember("until", .text(until?.description)),
            JSONMember("policyVersion", .integer(policyVersion)),
        ])
    }

    /// Whether a text may be a reason, or the word of an answer.
    ///
    /// - Parameter text: the text.
    /// - Returns: whether it is empty, or at most 500 characters on one line that people can be shown.
    static func isText(_ text: String) -> Bool {
        text.isEmpty || (text.unicodeScalars.count <= longestText && Names.isLabel(text, longest: longestText * 4))
    }
}

/// Who asks.
enum Asker: Hashable, Sendable {
    /// A person in a browser, or with a token.
    case person(String)
    /// A device; who is signed in there asks, if somebody is.
    case device(String)
}
