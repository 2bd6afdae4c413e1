import Glibc

/// What libFuzzer calls with each input.
///
/// One program holds all harnesses, as the module that they try out is compiled with it; the environment variable
/// `FUZZ` says which one runs. A harness traps when what it was told to hold does not hold, and libFuzzer reports it.
///
/// - Parameters:
///   - start: the input.
///   - count: its length.
/// - Returns: 0, as libFuzzer wants it.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    harness(Array(UnsafeBufferPointer(start: start, count: count)))
    return 0
}

private let harness: @Sendable ([UInt8]) -> Void = {
    switch getenv("FUZZ").map({ String(cString: $0) }) {
    case "address": fuzzAddress
    case "pattern": fuzzPattern
    case "reference": fuzzReference
    case "target": fuzzTarget
    case "json": fuzzJSON
    case "policy": fuzzPolicy
    case "request": fuzzRequest
    case "authority": fuzzAuthority
    case "form": fuzzHostForm
    case "packs": fuzzPacks
    default: preconditionFailure("FUZZ names no harness")
    }
}()
