@testable import EnforcementDaemon
import LocalInstallation
import RegistryAccess
import TestSupport
import Testing

/// The organization's own server in the egress proxy: open whatever is in force, and nothing else with it.
struct EgressOwnServerTests {
    /// What is in force.
    enum State: CaseIterable, Sendable {
        case enforce, denied, audit, disabled, expired, signInRequired, notAMember, unavailable

        func policy() throws -> PolicyInForce {
            func policy(_ more: String, _ address: String = "docker.io", isAllowed: Bool = true) throws -> PolicyInForce
            {
                let rule = #"{"address":"\#(address)","allowed":\#(isAllowed)}"#
                let text = #"{"version":7,"organization":"acme"\#(more),"registries":[\#(rule)]}"#
                return .policy(try AccessPolicy(json: Array(text.utf8)), source: PolicySource(path: "policy"))
            }
            func withheld(_ cause: WithheldPolicy.Cause) -> PolicyInForce {
                .withheld(WithheldPolicy(cause, organization: "acme", server: "https://ram.acme.test"))
            }
            return switch self {
            case .enforce: try policy("")
            case .denied: try policy("", "**.acme.test", isAllowed: false)
            case .audit: try policy(#","mode":"audit""#)
            case .disabled: try policy(#","enabled":false"#)
            case .expired: withheld(.expired)
            case .signInRequired: withheld(.signInRequired)
            case .notAMember: withheld(.notAMember)
            case .unavailable: .unavailable("broken")
            }
        }
    }

    private static func decision(
        _ question: EgressDecision.Question,
        _ state: State
    ) throws -> EgressDecision {
        let servers = [
            "https://ram.acme.test:8443/x", "https://cdn.acme.test", "http://127.0.0.1:8080", "http://localhost:81",
        ]
        return EgressDecision(
            question,
            under: try state.policy(),
            servers: try servers.map { try ServerURL($0) },
            id: DecisionID(),
            at: UTCTime(milliseconds: 0)
        )
    }

    @Test(arguments: State.allCases)
    func `it is open whatever is in force`(_ state: State) throws {
        for authority in ["ram.acme.test:8443", "cdn.acme.test:443", "RAM.acme.test:8443"] {
            let target = try EgressTarget(authority: authority)
            let decision = try Self.decision(.reaching(target, isPlainHTTP: false), state)
            #expect(decision.refusal == nil && decision.record.reason == .organizationServer)
        }
        for authority in ["127.0.0.1:8080", "localhost:81"] {
            let target = try EgressTarget(authority: authority)
            for isPlainHTTP in [true, false] {
                #expect(try Self.decision(.reaching(target, isPlainHTTP: isPlainHTTP), state).refusal == nil)
            }
            let address = try RegistryAddress("127.0.0.1:\(target.port)")
            #expect(try Self.decision(.address(target, address), state).refusal == nil)
        }
    }

    @Test(
        "Nothing else is open with it",
        arguments: [State.enforce, .denied, .expired, .signInRequired, .notAMember, .unavailable],
        [
            "ram.acme.test:443", "ram.acme.test:8444", "x.ram.acme.test:8443", "acme.test:8443", "127.0.0.1:8081",
            "localhost:80",
        ]
    )
    func others(_ state: State, _ authority: String) throws {
        let target = try EgressTarget(authority: authority)
        #expect(try Self.decision(.reaching(target, isPlainHTTP: false), state).refusal != nil)
    }

    @Test("A server with TLS is not reached without, and its name leads to no address that nobody has")
    func limits() throws {
        let target = try EgressTarget(authority: "ram.acme.test:8443")
        #expect(try Self.decision(.reaching(target, isPlainHTTP: true), .enforce).verdict == Verdict(.deny, .plainHTTP))
        for address in ["127.0.0.1:8443", "169.254.169.254:8443", "[::1]:8443"] {
            let question = EgressDecision.Question.address(target, try RegistryAddress(address))
            #expect(try Self.decision(question, .enforce).verdict == Verdict(.deny, .forbiddenAddress))
        }
        let address = try RegistryAddress("192.0.2.7:8443")
        #expect(try Self.decision(.address(target, address), .enforce).refusal == nil)
    }
}
