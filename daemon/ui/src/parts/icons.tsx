// Line icons, 20 x 20; drawn here so that nothing is loaded from elsewhere.

function icon(path: string) {
  return () => (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={path} />
    </svg>
  );
}

export const Plus = icon("M10 4v12M4 10h12");
export const Cross = icon("M5 5l10 10M15 5L5 15");
export const Bin = icon("M4 6h12M8 6V4h4v2M6 6l.7 10h6.6L14 6M8.5 9v4.5M11.5 9v4.5");
export const Camera = icon("M3 6.5h9v7H3zM12 9l5-2.5v7L12 11");
export const Link = icon("M7 5H4v10h3M13 5h3v10h-3M7 10h6");
export const Bell = icon("M5 14h10l-1.5-2V9a3.5 3.5 0 00-7 0v3L5 14zM8.5 16.5h3");
export const Globe = icon("M10 3a7 7 0 100 14 7 7 0 000-14zM3 10h14M10 3c4 4 4 10 0 14M10 3c-4 4-4 10 0 14");
export const Leave = icon("M8 4H4v12h4M11 6.5L14.5 10 11 13.5M7.5 10h7");
export const Key = icon("M12.5 3.5a4 4 0 100 8 4 4 0 000-8zM9.5 10.5L4 16v1.5h3v-2h2v-2h1.5");
export const Plug = icon("M7 3v4M13 3v4M5 7h10v3a5 5 0 01-10 0zM10 15v3");
export const Clock = icon("M10 3a7 7 0 100 14 7 7 0 000-14zM10 6v4l3 2");
export const Check = icon("M4.5 10.5l3.5 3.5 7.5-8");
export const Warn = icon("M10 3.5L17.5 16h-15zM10 8v4M10 13.8v.4");
export const Pause = icon("M7 5v10M13 5v10");
export const Play = icon("M7 4.5v11l8-5.5z");
export const Snapshot = icon("M3 7h3l1.5-2h5L14 7h3v8H3zM10 8.5a2.5 2.5 0 100 5 2.5 2.5 0 000-5z");
export const FullScreen = icon("M4 8V4h4M12 4h4v4M16 12v4h-4M8 16H4v-4");

export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" />
      <circle cx="12.5" cy="16" r="7" />
      <circle cx="19.5" cy="16" r="7" />
      <circle class="dot" cx="16" cy="16" r="1.8" />
    </svg>
  );
}
