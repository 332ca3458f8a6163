// simple-peer's prebuilt bundle has no types of its own; it is the same class as the bare entry's.
declare module 'simple-peer/simplepeer.min.js' {
  import Peer from 'simple-peer'
  export default Peer
}
