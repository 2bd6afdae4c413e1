public import RegistryAccess

/// Why a document is not accepted; what was accepted before stays in force.
public enum Rejection: Error, Hashable, Sendable, CustomStringConvertible {
    /// It is no document of its kind; the text says what and where.
    case malformed(String)
    /// It is longer than its kind may be, in bytes.
    case tooLarge(limit: Int)
    /// It is a document of another kind.
    case otherKind(String)
    /// It is another organization's.
    case otherOrganization(String)
    /// Too few of the keys that may sign it have.
    case notSigned(signatures: Int, needed: Int)
    /// No root document is signed by the pinned key.
    case notPinned
    /// Root documents follow each other one by one.
    case rootOutOfOrder(expected: Int, found: Int)
    /// More root documents than are looked at in one go.
    case tooManyRoots(limit: Int)
    /// The newest root document has ended.
    case rootExpired(Instant)
    /// It needs a root document that is not here yet.
    case rootNeeded(Int)
    /// It is older than one that was accepted before: a replay, or a server that was set back.
    case older(newest: Int, found: Int)
    /// It bears the number of one that was accepted before, and says something else: two servers, or an attack.
    case equivocation(Int)
    /// It names a policy that is not here.
    case policyNeeded(Int)
    /// It is not the policy that the freshness document names.
    case otherPolicy
    /// It says that it was made in the future.
    case fromFuture(Instant)
    /// It has ended.
    case expired(Instant)
    /// It would be good for longer than any may be, or for less.
    case badLifetime(seconds: Int64)
    /// It is for another device.
    case otherDevice
    /// The session that it stands for was ended after it was made.
    case sessionEnded

    /// What is wrong, lower-case.
    public var description: String {
        switch self {
        case .malformed(let fault): fault
        case .tooLarge(let limit): "the document is longer than \(limit) bytes"
        case .otherKind(let kind): "the document is of another kind: \"\(kind)\""
        case .otherOrganization(let name): "the document belongs to another organization: \"\(name)\""
        case .notSigned(let count, let needed):
            "the document has \(count) of the \(needed) signatures that it needs from keys that may sign it"
        case .notPinned: "no root document is signed by the key with the fingerprint of the enrollment"
        case .rootOutOfOrder(let expected, let found): "root version \(expected) was expected and \(found) came"
        case .tooManyRoots(let limit): "more than \(limit) root documents to go through"
        case .rootExpired(let time): "the root document ended at \(time)"
        case .rootNeeded(let version): "root version \(version) is needed first"
        case .older(let newest, let found): "number \(found) is older than \(newest), which was accepted before"
        case .equivocation(let number): "number \(number) was accepted before and said something else"
        case .policyNeeded(let version): "policy version \(version) is needed with it"
        case .otherPolicy: "the policy is not the one that the freshness document names"
        case .fromFuture(let time):
            "the document is from the future (\(time)): the clock of the server or of this machine is wrong"
        case .expired(let time):
            "the document ended at \(time): it was not renewed, or the clock of this machine is wrong"
        case .badLifetime(let seconds): "a lifetime of \(seconds) seconds is out of bounds"
        case .otherDevice: "the ticket is for another device"
        case .sessionEnded: "the session was ended"
        }
    }
}
