import Hummingbird
import NIOCore
import Synchronization

/// What the server knows of a request while it answers it.
struct ServerContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// Who asks; `nil` if they showed nothing.
    var caller: Caller? {
        didSet { asker.note(caller) }
    }
    /// The name of who asks, for the log; every copy of the context has the same one.
    let asker = Asker()
    /// Where the request comes from: an address, an IPv6 one shortened to its network of 64 bits; `-` if that is unknown.
    var address: String
    /// What the log calls the request.
    var number = "-"

    /// No body but a policy may be longer, and that is read by its own route.
    var maxUploadSize: Int { 1 << 20 }

    init(source: Source) {
        coreContext = .init(source: source)
        address = ClientAddress.shortened(source.channel.remoteAddress?.ipAddress)
    }

    /// The name of who asks, known to those who handed the context on before that was found out.
    final class Asker: Sendable {
        private let noted = Mutex<String?>(nil)

        /// A person's name, or `device:` and a device's; `nil` is nobody in particular.
        var name: String? { noted.withLock { $0 } }

        fileprivate func note(_ caller: Caller?) {
            let name: String? =
                switch caller {
                case .person(let person)?: person.name
                case .device(_, let id)?: "device:\(id)"
                case nil: nil
                }
            noted.withLock { $0 = name }
        }
    }

    /// The pattern of the route that takes the request; `nil` if none does, which the router has a name for.
    var route: String? { endpointPath.flatMap { $0.hasPrefix("/") ? $0 : nil } }

    /// Whether the request comes from the server's own machine; behind a proxy every one may do so, and that says nothing.
    ///
    /// - Parameter settings: what the server's command line says.
    /// - Returns: whether it is so for sure.
    func isFromThisMachine(_ settings: ServerSettings) -> Bool {
        !settings.isBehindProxy && PublicAddress.isLoopback(address)
    }

    /// The organization that the path names as `{organization}`, if the person who asks may do something there.
    ///
    /// - Parameters:
    ///   - permission: what is wanted.
    ///   - wider: what does as well: a token that may change something may read it.
    /// - Returns: the person, and the organization's name.
    /// - Throws: ``Problem``: 401 to nobody, 404 to who does not belong to it (nobody learns which organizations there
    ///   are), 403 to who belongs to it and may not.
    func authorize(_ permission: Permission, or wider: Permission? = nil) throws -> (
        person: Person, organization: String
    ) {
        let (person, organization) = try authorizeMember()
        guard person.may(permission, in: organization) || wider.map({ person.may($0, in: organization) }) ?? false
        else { throw Problem.needs(permission, in: organization) }
        return (person, organization)
    }

    /// The organization that the path names as `{organization}`, if the person who asks belongs to it.
    ///
    /// - Returns: the person, and the organization's name.
    /// - Throws: ``Problem``: 401 to nobody, 404 to who does not belong to it.
    func authorizeMember() throws -> (person: Person, organization: String) {
        let organization = try parameters.require("organization")
        guard case .person(let person) = caller else { throw Problem.notSignedIn }
        guard person.role(in: organization) != nil else {
            throw Problem(.notFound, .notFound, "there is no organization \"\(organization)\" that you belong to")
        }
        return (person, organization)
    }

    /// The device that the path names as `{organization}` and `{device}`, if it is the one that asks.
    ///
    /// - Returns: the organization's name and the device's id.
    /// - Throws: ``Problem``, 401.
    func authorizeDevice() throws -> (organization: String, device: String) {
        let organization = try parameters.require("organization")
        let device = try parameters.require("device")
        guard caller == .device(organization: organization, id: device) else {
            throw Problem(.unauthorized, .deviceUnknown, "this device is not known", hint: "register it again")
        }
        return (organization, device)
    }
}

extension Problem {
    /// The refusal of what somebody who belongs to an organization may not do there.
    static func needs(_ permission: Permission, in organization: String) -> Problem {
        Problem(
            .forbidden,
            .forbidden,
            "this needs \"\(permission.rawValue)\" in \"\(organization)\"",
            hint: "ask an owner of the organization, or use a token with this scope"
        )
    }
}
