import GRDB
import RegistryAccess

/// One member signed in, on a device or in a program.
struct Session: Hashable, Sendable {
    /// Its name, no secret.
    let id: String
    /// Who is signed in.
    let user: String
    /// The one organization that it is good for; `nil` is each of theirs.
    let organization: String?
    /// The device that it is bound to.
    let device: String?
    /// What that device calls itself, in lists.
    let deviceName: String?
    /// Where the sign-in came from.
    let address: String
    /// When they signed in.
    let created: Instant
    /// When its refresh token was last used.
    let refreshed: Instant
    /// When it ends if nothing happens.
    let expires: Instant
    /// Whether it is one of the dashboard.
    let isBrowser: Bool
    /// Whether an access token began it.
    let isOfAccessToken: Bool

    /// Reads a row of the table `session`, with the name of its device.
    init(_ row: Row) {
        id = row["id"]
        user = row["user"]
        organization = row["organization"]
        device = row["device"]
        deviceName = row["deviceName"]
        address = row["address"]
        created = Instant(seconds: row["created"])
        refreshed = Instant(seconds: row["refreshed"])
        expires = Instant(seconds: row["expires"])
        isBrowser = row["authenticated"] as Int64? != nil
        isOfAccessToken = row["accessToken"] as String? != nil
    }
}

/// A sign-in that succeeded, before there is a session.
struct SignedInPerson: Hashable, Sendable {
    /// Who.
    let user: String
    /// The access token that they showed, by its digest.
    var accessToken: String?
    /// What that token is limited to; `nil` is everything that their role allows.
    var scopes: String?
    /// The one organization that it is for.
    var organization: String?
}

/// A session with the two secrets that it is used by.
struct IssuedSession: Sendable {
    /// The session.
    let session: Session
    /// What requests show.
    let access: OpaqueToken
    /// What gets the next two.
    let refresh: OpaqueToken
}

/// Whether somebody is signed in on a device.
enum SessionState: String, Sendable {
    /// Nobody has signed in.
    case none
    /// Somebody is signed in.
    case active
    /// Whoever signed in last has to do so again.
    case ended

    /// The state of a device by its newest session.
    ///
    /// - Parameter isActive: whether nobody has ended it; `nil` if there is none. Whether its time is over does not matter: the
    ///   machine knows that by its ticket, and learns it when it goes on with the session; a clock that is wrong here ends
    ///   none.
    init(isActive: Bool?) {
        self = isActive.map { $0 ? .active : .ended } ?? .none
    }
}

/// Why a sign-in did not give a session.
enum SessionRefusal: Error, Equatable {
    /// The token is none, or not any more, or not for this device.
    case invalidGrant
    /// A token that was already used came again: somebody else has it, so nobody may go on with the session.
    case reused(organizations: [String])
    /// The person does not belong to the organization.
    case notAMember
}

extension Session {
    /// How long an access token is good.
    static let accessSeconds: Int64 = 900
    /// How long a session goes on without being used.
    static let idleSeconds: Int64 = 30 * 86_400
    /// How long a session goes on at most.
    static let longestSeconds: Int64 = 90 * 86_400
    /// How long the refresh token before the newest is taken once more: the answer with the newest may have been lost.
    ///
    /// A machine shows the secret of its device too, and may have been off since: there it is taken until the newest is used.
    static let lostAnswerSeconds: Int64 = 300
}
