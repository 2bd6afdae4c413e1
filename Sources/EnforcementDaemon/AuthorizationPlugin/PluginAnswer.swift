import RegistryAccess

/// What the engine is answered.
///
/// The shapes are those of Docker's plugin protocol (moby, `pkg/authorization/api.go` and `pkg/plugins/client.go`).
enum PluginAnswer: Hashable, Sendable {
    /// The answer to `Plugin.Activate`: this is an authorization plugin.
    case activation
    /// The request may go on.
    case allow
    /// The request is refused; the text is what the person reads.
    case refuse(String)
    /// Something is wrong with the call itself. The engine refuses the request, and shows the text only if the
    /// answer has a status of failure: `Err` in a successful answer is lost.
    case fault(Fault)

    /// What can be wrong with a call.
    enum Fault: Hashable, Sendable {
        /// There is no such method of a plugin.
        case unknownMethod
        /// Every method is called by POST.
        case notPOST
        /// The deadline of the call has passed.
        case deadline
    }

    /// The status of the answer.
    var status: Int {
        switch self {
        case .activation, .allow, .refuse: 200
        case .fault(.unknownMethod): 404
        case .fault(.notPOST): 405
        case .fault(.deadline): 500
        }
    }

    /// The body of the answer.
    var body: String {
        switch self {
        case .activation: #"{"Implements":["authz"]}"#
        case .allow: #"{"Allow":true}"#
        case .refuse(let sentence):
            JSONValue.object([JSONMember("Allow", .bool(false)), JSONMember("Msg", .string(sentence))]).text()
        case .fault(.unknownMethod): #"{"Err":"docker-ram has no such method"}"#
        case .fault(.notPOST): #"{"Err":"docker-ram is called by POST"}"#
        case .fault(.deadline): #"{"Err":"docker-ram could not decide in time; try again"}"#
        }
    }
}
