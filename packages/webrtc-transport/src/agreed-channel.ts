/**
 * The one data channel of a link: both ends make it, before they connect, and need no word about it. A channel that one end
 * makes and announces is handed to the other end's page as open before it is: Chromium then drops, once in a while and without
 * an error, what that page sends first.
 */
export const agreedChannel: RTCDataChannelInit = { negotiated: true, id: 0 }
